/** `ps` as a table: what the ps of the host prints, of the processes that are asked for. */
import { TsrunError } from "../errors.ts";
import { hostProcessTable } from "../index.ts";
import { escapeControl } from "../log.ts";
import { writeOut } from "./output.ts";
import { processTable } from "./proc-table.ts";

export function printTable(pids: readonly number[], options: readonly string[]): number {
  const output = hostProcessTable(options.length > 0 ? options : ["-ef"]);
  if (output !== undefined) {
    writeOut(filterTable(output.trimEnd(), pids));
    return 0;
  }
  if (options.length > 0) {
    throw new TsrunError("ps is not installed, so its options cannot be used", {
      fix: "install procps, or leave the options out",
    });
  }
  writeOut(processTable(pids));
  return 0;
}

/**
 * The header of ps and those of its lines that belong to `pids`.
 *
 * @throws TsrunError when ps was told not to print a PID column
 */
function filterTable(output: string, pids: readonly number[]): string {
  const [header = "", ...lines] = output.split("\n");
  const column = header.trim().split(/\s+/).indexOf("PID");
  if (column === -1) {
    throw new TsrunError("the output of ps has no PID column", {
      fix: "use ps options that print one, such as -ef or -o pid,args",
    });
  }
  const wanted = new Set(pids.map(String));
  const kept = lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column] ?? ""));
  // Which characters ps shows as they are is a matter of the locale: U+202E is one of them in C.UTF-8.
  return `${[header, ...kept].map(escapeControl).join("\n")}\n`;
}
