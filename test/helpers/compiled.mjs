// The programs in C that tests run, as an attacker in a container. They are compiled where they are wanted; for a machine
// without a compiler, as the virtual one is, scripts/test.mjs has them compiled before, into build/test.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUILT = join(ROOT, "build/test");

/** Their sources below test/fixtures; fault.c knows the registers of x86_64 alone, call.c its calls. */
const PROGRAMS = {
  attacker: "security/attacker.c",
  ...(process.arch === "x64" && { fault: "security/fault.c", call: "seccomp/call.c" }),
};

/**
 * The program, static, so that it runs in any root filesystem.
 * @param {string} name one of PROGRAMS
 * @param {string} directory where it is put when it has to be compiled
 */
export function compiled(name, directory) {
  const source = join(ROOT, "test/fixtures", PROGRAMS[name]);
  const built = join(BUILT, name);
  if (existsSync(built) && statSync(built).mtimeMs > statSync(source).mtimeMs) return built;
  const path = join(directory, name);
  execFileSync("gcc", ["-static", "-O1", "-o", path, source], { stdio: ["ignore", "ignore", "inherit"] });
  return path;
}

/** @returns {string | undefined} why there is no such program here */
export function notCompiled(name) {
  if (PROGRAMS[name] === undefined) return `a program for x86_64, this is ${process.arch}`;
  const hasCompiler = (process.env.PATH ?? "").split(":").some((dir) => dir !== "" && existsSync(join(dir, "gcc")));
  return hasCompiler || existsSync(join(BUILT, name)) ? undefined : "needs gcc";
}

/** Makes build/test, as far as it can be made here. */
export function compileAll() {
  mkdirSync(BUILT, { recursive: true });
  for (const name of Object.keys(PROGRAMS)) {
    if (notCompiled(name) !== undefined) continue;
    const unfinished = mkdtempSync(join(tmpdir(), "tsrun-compiled-"));
    const path = compiled(name, unfinished);
    if (path !== join(BUILT, name)) copyFileSync(path, join(BUILT, name));
    rmSync(unfinished, { recursive: true });
  }
  return BUILT;
}
