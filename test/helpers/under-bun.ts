/** Run by Bun: does the checks of the module in argv and prints, as its last line, what failed: {check: "" or why}. */
import type { Checks } from "./both-engines.ts";

const { checks } = (await import(process.argv[2] as string)) as { checks: Checks };
const failures: Record<string, string> = {};
for (const name in checks) {
  try {
    checks[name]?.();
    failures[name] = "";
  } catch (error) {
    failures[name] = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}
process.stdout.write(`\n${JSON.stringify(failures)}\n`);
