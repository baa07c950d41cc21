/** The decoder alone, damaged plans by the thousand, under AddressSanitizer and UBSan where the compiler has them. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { OPS, type OpName } from "../../../src/plan/step.ts";
import { type HandStep, wire } from "../../helpers/native.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/** Every op once, with arguments of its kinds. */
function everyOp(): HandStep[] {
  const values = { n: 12, u: 3n, s: "/some/path", l: ["one", "", "three"], b: new Uint8Array([0, 1, 2, 255]) };
  return (Object.keys(OPS) as OpName[]).map((op) => [
    op,
    ...[...OPS[op]].map((kind) => values[kind as keyof typeof values]),
  ]);
}

function hasSanitizers(): boolean {
  const input = "int main(void){return 0;}";
  return spawnSync("gcc", [...SANITIZE, "-x", "c", "-", "-o", "/dev/null"], { input }).status === 0;
}

describe("native/decode", () => {
  test.skipIf(!hasSanitizers())("no damage to a plan makes it read past the end (needs gcc with sanitizers)", () => {
    const dir = mkdtempSync(join(tmpdir(), "tsrun-fuzz-"));
    try {
      const program = join(dir, "decode-fuzz");
      const sources = [join(root, "test/fixtures/native/decode-fuzz.c"), join(root, "native/decode.c")];
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
