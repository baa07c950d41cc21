import { type Check, examineHost } from "../../index.ts";
import { escapeControl } from "../../log.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const doctor = defineVerb({
  name: "doctor",
  summary: "try what containers need of this machine, and say what is missing",
  usage: "",
  flags: [{ name: "json", kind: "bool", help: "print an object with canRun and checks" }],
  min: 0,
  max: 0,
  notes: `One line each: ok, limited or missing, and what to do about it. Everything is tried as this caller would have it, in
namespaces and directories that are gone afterwards. The exit code is 0 when containers can be run, and 1 when not.`,
  run({ values, globals }) {
    const diagnosis = examineHost(globals.root);
    if (values.json) writeOut(`${JSON.stringify(diagnosis, null, 2)}\n`);
    else writeOut(`${table(diagnosis.checks)}${summary(diagnosis)}\n`);
    return diagnosis.canRun ? 0 : 1;
  },
});

function table(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, status, detail, fix }) => {
      const line = `${status.padEnd(8)} ${name.padEnd(width)}  ${detail}${fix === undefined ? "" : `; fix: ${fix}`}`;
      return `${escapeControl(line)}\n`;
    })
    .join("");
}

function summary({ canRun, checks }: { canRun: boolean; checks: readonly Check[] }): string {
  if (!canRun) return "containers cannot be run here";
  const count = checks.filter(({ status }) => status !== "ok").length;
  return count === 0
    ? "containers can be run"
    : `containers can be run; ${count} of ${checks.length} things are not all there`;
}
