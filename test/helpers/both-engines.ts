/**
 * The wrappers of sys/ work under two engines with two foreign function interfaces, so their tests run under
 * both: in this process, which is Node, and by Bun in a child. The behaviours are functions that throw.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, test } from "vitest";
import { missing, type Needs } from "./needs.ts";

/** Behaviour → a function that throws when it is not so. */
export type Checks = Readonly<Record<string, () => void>>;

export const BUN = fileURLToPath(new URL("../../node_modules/.bin/bun", import.meta.url));
const CHILD = fileURLToPath(new URL("./under-bun.ts", import.meta.url));

/** Runs each check of a module (its export `checks`) under Node and under Bun. */
export function underBothEngines(subject: string, checks: Checks, moduleUrl: URL, wanted: Needs = {}): void {
  const reason = missing(wanted);
  if (reason !== undefined) {
    describe.skip(`${subject} (skipped: ${reason})`, () => {
      for (const name of Object.keys(checks)) test(name, () => {});
    });
    return;
  }
  describe(`${subject} under Node`, () => {
    for (const name of Object.keys(checks)) test(name, checks[name]);
  });

  describe.skipIf(!existsSync(BUN))(`${subject} under Bun`, () => {
    let failures: Record<string, string> = {};
    beforeAll(() => {
      const { stdout, stderr, status } = spawnSync(BUN, [CHILD, fileURLToPath(moduleUrl)], { encoding: "utf8" });
      if (status !== 0) throw new Error(`bun ended with ${status}: ${stderr}${stdout}`);
      failures = JSON.parse(stdout.slice(stdout.lastIndexOf("\n{") + 1));
    }, 60_000);
    for (const name of Object.keys(checks)) {
      test(name, () => {
        const failure = failures[name];
        if (failure !== "") throw new Error(failure ?? "the check did not run");
      });
    }
  });
}
