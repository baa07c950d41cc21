/** `tsrun try` */
import { createInterface } from "node:readline/promises";
import { isatty } from "node:tty";
import { type ChangedPath, storageRoot, tryCommand } from "../../index.ts";
import type { Globals } from "../flags.ts";
import { absolute } from "../globals.ts";
import { writeError, writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";

interface TryCall {
  values: { diff?: boolean; apply?: boolean; keep?: string; drop?: boolean; base?: string; store?: string };
  args: string[];
  globals: Globals;
}

type Decision = "apply" | "keep" | "drop";

export async function runTry({ values, args, globals }: TryCall): Promise<number> {
  const keep = values.keep || undefined;
  if (args.length === 0 && keep === undefined)
    throw new UsageError('"try" requires a command', { fix: "tsrun try -- COMMAND" });
  if (values.drop && (args.length > 0 || values.apply))
    throw new UsageError("--drop is about what was kept, and excludes a command and --apply");
  const { exitCode, applied } = await tryCommand({
    args: args.length > 0 ? args : undefined,
    keep,
    base: values.base ? absolute(values.base) : undefined,
    cwd: values.base ? "/" : process.cwd(),
    env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
    storageRoot: values.store ? absolute(values.store) : storageRoot(),
    root: globals.root,
    decide: async (changes, code) => decide(values, changes, code),
  });
  if (applied !== undefined) writeError(`applied ${applied} changes\n`);
  return exitCode ?? 0;
}

async function decide(
  values: TryCall["values"],
  changes: readonly ChangedPath[],
  code: number | undefined,
): Promise<Decision> {
  const isQuestion = !values.diff && !values.apply && !values.keep && isatty(0) && isatty(2);
  const rest: Decision = values.keep ? "keep" : "drop";
  if (values.drop) return "drop";
  if (values.diff || !values.apply) print(changes, isQuestion ? writeError : writeOut);
  if (values.apply) {
    if (code === undefined || code === 0) return "apply";
    writeError(`the command ended with ${code}: nothing is applied\n`);
    return rest;
  }
  if (!isQuestion || changes.length === 0) return rest;
  return ask();
}

function print(changes: readonly ChangedPath[], to: (text: string) => void): void {
  to(changes.map(({ kind, path }) => `${kind} ${path}\n`).join(""));
}

async function ask(): Promise<Decision> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = (await lines.question("apply these changes to the system? [y/N] ")).trim().toLowerCase();
    return answer === "y" || answer === "yes" ? "apply" : "drop";
  } finally {
    lines.close();
  }
}
