/** The decoder alone, damaged plans by the thousand, under AddressSanitizer and UBSan where the compiler has them. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { everyOp, hasSanitizers, SANITIZE, wire } from "../../helpers/native.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

describe("native/decode", () => {
  test.skipIf(!hasSanitizers())("no damage to a plan makes it read past the end (needs gcc with sanitizers)", () => {
    const dir = mkdtempSync(join(tmpdir(), "tsrun-fuzz-"));
    try {
      const program = join(dir, "damage");
      const sources = [join(root, "test/fuzz/damage.c"), join(root, "native/decode.c")];
      const flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", ...SANITIZE];
      execFileSync("gcc", [...flags, `-I${join(root, "native")}`, "-o", program, ...sources], { stdio: "pipe" });
      const rounds = process.env.TSRUN_FUZZ_ROUNDS ?? "30000";
      const seed = process.env.TSRUN_FUZZ_SEED ?? "1";
      const run = spawnSync(program, [seed, rounds], { input: wire(everyOp()), encoding: "utf8" });
      expect(run.stderr).toBe("");
      expect(run.stdout).toBe("ok\n");
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
