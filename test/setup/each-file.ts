/**
 * Around each file of the integration and conformance suites: what the file made is taken away again, and no
 * program that a test waits for without a limit of its own is waited for without end, as vitest's limits cannot
 * interrupt such a wait.
 */
import childProcess from "node:child_process";
import { writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { afterAll, beforeEach, expect } from "vitest";
import { removeCgroups } from "../helpers/leftovers.ts";
import { deleteContainers } from "../helpers/runtime.ts";
import { removeScratch } from "../helpers/scratch.ts";

const LIMIT = { timeout: process.env.TSRUN_VM ? 300_000 : 120_000, killSignal: "SIGKILL" };

for (const name of ["spawnSync", "execFileSync"] as const) {
  const original = childProcess[name] as (file: string, ...rest: unknown[]) => unknown;
  const limited = (file: string, ...rest: unknown[]) => {
    const args = Array.isArray(rest[0]) ? rest.shift() : [];
    return original(file, args, { ...LIMIT, ...(rest[0] as object | undefined) });
  };
  Object.assign(childProcess, { [name]: limited });
}
syncBuiltinESMExports();

/** Where to say which test has begun, for who watches over the suite (test/vm/guest.sh): a report has a line a file. */
const { TSRUN_PROGRESS } = process.env;
if (TSRUN_PROGRESS) beforeEach(() => writeFileSync(TSRUN_PROGRESS, `${expect.getState().currentTestName}\n`));

afterAll(() => {
  deleteContainers();
  removeCgroups();
  removeScratch();
});
