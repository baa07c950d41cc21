/**
 * Filters as libseccomp makes them of the same profile, to compare ours with. The program that asks it is
 * compiled on the spot where libseccomp's headers are installed (Debian: libseccomp-dev).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LinuxSeccomp, LinuxSeccompArg } from "../../src/spec/types.ts";
import { hasCommand } from "./needs.ts";

/** SCMP_ARCH_* of seccomp.h. */
const TOKENS: Record<string, number> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
  SCMP_ARCH_AARCH64: 0xc00000b7,
};

const ACTIONS: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

/** Why libseccomp cannot be asked here, or undefined. */
export function libseccompMissing(): string | undefined {
  if (!hasCommand("cc")) return "needs a C compiler";
  if (!existsSync("/usr/include/seccomp.h")) return "needs libseccomp-dev";
  if (process.arch !== "x64") return "compares on x86_64";
  return undefined;
}

let directory: string | undefined;

function oracle(): string {
  if (directory === undefined) {
    directory = mkdtempSync(join(tmpdir(), "tsrun-libseccomp-"));
    const source = fileURLToPath(new URL("../fixtures/seccomp/oracle.c", import.meta.url));
    const built = spawnSync("cc", ["-O1", "-o", join(directory, "oracle"), source, "-lseccomp"], { encoding: "utf8" });
    if (built.status !== 0) throw new Error(built.stderr);
  }
  return join(directory, "oracle");
}

export function removeOracle(): void {
  if (directory !== undefined) rmSync(directory, { recursive: true });
  directory = undefined;
}

/**
 * The number that libseccomp gives to each name, in the order of the names: -1 for a name it does not know, less than
 * that for one that the architecture lacks or multiplexes.
 */
export function libseccompNumbers(architecture: string, names: readonly string[]): number[] {
  const lines = names.map((name) => `number ${TOKENS[architecture]} ${name}\n`).join("");
  // The filter without rules that it writes is not looked at.
  const { stderr } = spawnSync(oracle(), { input: `default 0\n${lines}`, encoding: "utf8" });
  return stderr.trim().split("\n").map(Number);
}

/** The program for x86_64, or the words in which libseccomp refused a rule. Feeds rules to it as runc does. */
export function libseccompFilter(profile: LinuxSeccomp): Uint8Array | string {
  const base = action(profile.defaultAction, profile.defaultErrnoRet);
  const lines = [`default ${base}`];
  for (const name of profile.architectures ?? []) {
    const token = TOKENS[name];
    if (token !== undefined) lines.push(`arch ${token}`);
  }
  for (const { names, action: name, errnoRet, args = [] } of profile.syscalls ?? []) {
    const value = action(name, errnoRet);
    if (value === base) continue;
    const indexes = new Set(args.map(({ index }) => index));
    const groups: LinuxSeccompArg[][] = indexes.size < args.length ? args.map((arg) => [arg]) : [args];
    for (const syscall of names) {
      for (const group of groups) {
        const words = group.map((arg) => `${arg.index} ${arg.op.slice(9)} ${arg.value} ${arg.valueTwo ?? 0}`);
        lines.push(`rule ${value} ${syscall} ${words.join(" ")}`);
      }
    }
  }
  // Rules of different actions can make libseccomp 2.5 turn in circles.
  const result = spawnSync(oracle(), { input: `${lines.join("\n")}\n`, timeout: 10_000, killSignal: "SIGKILL" });
  if (result.signal !== null) return "no answer";
  if (result.status === 3) return result.stderr.toString();
  if (result.status !== 0) throw new Error(`oracle: ${result.status} ${result.stderr}`);
  return new Uint8Array(result.stdout);
}

function action(name: string, errnoRet = 1): number {
  const value = ACTIONS[name];
  if (value === undefined) throw new Error(`no action ${name}`);
  return name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE" ? (value | errnoRet) >>> 0 : value;
}
