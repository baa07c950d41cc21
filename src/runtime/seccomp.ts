/** The filter of a profile for the machine that this is. */
import { compileSeccomp } from "../seccomp/compile.ts";
import type { LinuxSeccomp } from "../spec/types.ts";

export function compiledSeccomp(profile: LinuxSeccomp | undefined): ReturnType<typeof compileSeccomp> | undefined {
  return profile && compileSeccomp(profile, process.arch === "arm64" ? "aarch64" : "x86_64");
}
