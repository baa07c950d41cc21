/** Compilers and analyzers have nothing to say of native/; each is asked where it is installed. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const build = join(root, "build");
const engineHeaders = existsSync(build) && readdirSync(build).find((name) => /^quickjs-[\d.]+$/.test(name));

function sources(directory: string): string[] {
  return readdirSync(join(root, directory))
    .filter((name) => name.endsWith(".c"))
    .map((name) => join(directory, name));
}

function has(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}

function expectSilence(program: string, args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
  expect({
    status,
    said: `${stdout}${stderr}`.replace(/^\d+ warnings? (generated|treated as errors?)\.?\n/gm, ""),
  }).toEqual({ status: 0, said: "" });
}

const WARNINGS = "-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wundef -Wpointer-arith -Werror";
const INIT = ["-std=gnu11", "-ffreestanding"];
const ENGINE = ["-std=gnu11", "-D_GNU_SOURCE", "-isystem", join(root, `build/${engineHeaders}`)];

describe("native", () => {
  for (const compiler of ["gcc", "clang"]) {
    test.skipIf(!has(compiler))(`${compiler} has no warning (needs ${compiler})`, () => {
      // One by one: with several of them gcc wants no -o.
      for (const source of sources("native")) {
        expectSilence(compiler, [...INIT, "-O2", ...WARNINGS.split(" "), "-c", "-o", "/dev/null", source]);
      }
    });
  }

  test.skipIf(!has("cppcheck"))("cppcheck finds nothing (needs cppcheck)", () => {
    const options = ["--quiet", "--error-exitcode=1", "--enable=warning,performance,portability", "--std=c11"];
    // It takes the least result of mmap(2) that is no error for an address that is used: that is 0, which mmap never says.
    const suppressed = "--suppress=nullPointerArithmeticRedundantCheck";
    expectSilence("cppcheck", [
      ...options,
      suppressed,
      "-D__x86_64__",
      ...sources("native"),
      ...sources("native/engine"),
    ]);
  });

  test.skipIf(!has("clang-tidy"))(
    "clang-tidy finds nothing (needs clang-tidy)",
    () => {
      expectSilence("clang-tidy", ["--quiet", ...sources("native"), "--", ...INIT]);
    },
    60_000,
  );

  test.skipIf(!has("clang-tidy") || !engineHeaders)(
    "clang-tidy finds nothing in the engine's host (needs clang-tidy and the sources of QuickJS)",
    () => {
      expectSilence("clang-tidy", ["--quiet", ...sources("native/engine"), "--", ...ENGINE]);
    },
    60_000,
  );
});
