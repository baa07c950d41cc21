/** The harnesses of the fuzzers, with random inputs in the place of a fuzzer's: that they build, and find nothing. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { hasSanitizers } from "../../helpers/native.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const ROUNDS = process.env.TSRUN_FUZZ_ROUNDS ?? "1000";
const SEED = process.env.TSRUN_FUZZ_SEED ?? "1";

describe("test/fuzz", () => {
  for (const harness of ["plan", "init"]) {
    test.skipIf(!hasSanitizers())(
      `${harness}: random inputs break nothing (needs gcc with sanitizers)`,
      () => {
        const run = spawnSync(join(root, "test/fuzz/run"), ["--random", harness, ROUNDS, SEED], { encoding: "utf8" });
        expect(run.stderr).toBe("");
        expect(run.stdout).toBe("ok\n");
      },
      120_000,
    );
  }
});
