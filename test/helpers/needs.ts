/**
 * A test says in one line what it needs of the machine; where that is missing the test is skipped and
 * its name says what was missing:
 *
 *     needs({ root: true, cgroup: "v2" })("memory.max is what the bundle asked for", () => { ... });
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "vitest";
import { type CompiledProgram, notCompiled } from "./compiled.mjs";

export type CgroupLayout = "v1" | "hybrid" | "v2" | "none";

export interface Needs {
  /** Root, with CAP_SYS_ADMIN, in the sandbox or the VM. */
  root?: boolean;
  /** An ordinary user, not root. */
  rootless?: boolean;
  /** One of these cgroup layouts; `v1` alone also means hybrid, whose controllers are those of v1. */
  cgroup?: CgroupLayout | readonly CgroupLayout[];
  /** A cgroup controller that this machine has, as `memory` or `pids`. */
  controllers?: readonly string[];
  /** This kernel or a newer one. */
  kernel?: readonly [major: number, minor: number];
  /** Programs on PATH. */
  commands?: readonly string[];
  /** A program of test/fixtures in C: compiled before, or a compiler. */
  compiled?: CompiledProgram;
  /** Files or directories. */
  files?: readonly string[];
  /** The runtime under test is tsrun itself: the test is about something that the spec does not ask for. */
  tsrun?: boolean;
  /** The machine itself, not the emulated guest: for what would take minutes there. TSRUN_SLOW=1 takes them. */
  native?: boolean;
  /** The sandbox around the tests. In the guest there is none: the machine itself is thrown away. */
  sandbox?: boolean;
  /** criu, and a kernel that it gets along with. */
  criu?: boolean;
  /** criu, and a kernel that tells it which memory has changed: for dumps that go on from an earlier one. */
  memoryTracking?: boolean;
  /** systemd as pid 1. */
  systemd?: boolean;
}

/** `test`, or `test.skip` under a name that gives the reason. */
export function needs(
  wanted: Needs,
): (name: string, body: (context: TestContext) => unknown, timeoutMs?: number) => void {
  const reason = missing(wanted);
  return (name, body, timeoutMs) => {
    if (reason === undefined) test(name, body as (context: TestContext) => Promise<void>, timeoutMs);
    else test.skip(`${name} (skipped: ${reason})`, () => {});
  };
}

/** `describe`, or `describe.skip` under a name that gives the reason. */
export function describeNeeds(wanted: Needs): (name: string, body: () => void) => void {
  const reason = missing(wanted);
  return (name, body) => {
    if (reason === undefined) describe(name, body);
    else describe.skip(`${name} (skipped: ${reason})`, body);
  };
}

/** What this machine lacks of `wanted`, in words, or undefined. */
export function missing(wanted: Needs): string | undefined {
  if (wanted.root && !isPrivileged()) return "needs root";
  if (wanted.rootless && process.getuid?.() === 0) return "needs an ordinary user";
  if (wanted.cgroup !== undefined) {
    const layouts = typeof wanted.cgroup === "string" ? [wanted.cgroup] : wanted.cgroup;
    const have = cgroupLayout();
    const isThere = layouts.includes(have) || (have === "hybrid" && layouts.includes("v1"));
    if (!isThere) return `needs cgroup ${layouts.join(" or ")}, this is ${have}`;
  }
  for (const controller of wanted.controllers ?? []) {
    if (!hasController(controller)) return `needs the ${controller} controller`;
  }
  if (wanted.kernel !== undefined && !isKernel(wanted.kernel)) {
    return `needs Linux ${wanted.kernel.join(".")}, this is ${release()}`;
  }
  for (const command of wanted.commands ?? []) {
    if (!hasCommand(command)) return `needs ${command}`;
  }
  if (wanted.compiled !== undefined) {
    const reason = notCompiled(wanted.compiled);
    if (reason !== undefined) return reason;
  }
  for (const file of wanted.files ?? []) {
    if (!existsSync(file)) return `needs ${file}`;
  }
  if (wanted.tsrun && process.env.TSRUN !== undefined && !process.env.TSRUN.endsWith("tsrun")) {
    return "a habit of tsrun";
  }
  if (wanted.native && process.env.TSRUN_VM === "1" && process.env.TSRUN_SLOW !== "1") return "too slow in the VM";
  if (wanted.sandbox && process.env.TSRUN_SANDBOX !== "1") return "needs the sandbox";
  if (wanted.criu) {
    if (!hasCommand("criu")) return "needs criu";
    const reason = criuProblem();
    if (reason !== "") return reason;
  }
  if (wanted.memoryTracking && spawnSync("criu", ["check", "--feature", "mem_dirty_track"]).status !== 0) {
    return "needs a kernel with soft-dirty page tracking";
  }
  if (wanted.systemd && !existsSync("/run/systemd/system")) return "needs systemd";
  return undefined;
}

/** Root with CAP_SYS_ADMIN (bit 21): root of most CI containers has a uid of 0 and may do nothing. */
export function isPrivileged(): boolean {
  return process.getuid?.() === 0 && hasCapability(21);
}

/** By its number, as capabilities(7) has them in <linux/capability.h>. */
export function hasCapability(bit: number): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> BigInt(bit)) & 1n) === 1n;
}

let criuCheck: string | undefined;

/** Why criu does not work here, "" when it does. */
function criuProblem(): string {
  if (criuCheck === undefined) {
    const { status, stdout, stderr } = spawnSync("criu", ["check"], { encoding: "utf8" });
    const said =
      `${stdout}${stderr}`
        .trim()
        .split("\n")
        .find((line) => line.includes("Error")) ?? `exit code ${status}`;
    criuCheck = status === 0 ? "" : `criu check: ${said.replace(/^.*?Error [^:]*:\d+\): /, "")}`;
  }
  return criuCheck;
}

/** How this machine mounts its cgroups. */
export function cgroupLayout(): CgroupLayout {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const types = new Set(mounts.filter((line) => line.includes(" /sys/fs/cgroup")).map((line) => line.split(" ")[2]));
  if (types.has("cgroup")) return types.has("cgroup2") ? "hybrid" : "v1";
  return types.has("cgroup2") ? "v2" : "none";
}

/** Does this machine have the controller, in whichever layout? */
export function hasController(name: string): boolean {
  if (cgroupLayout() !== "v2") {
    return readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .some((line) => line.split(" ")[2] === "cgroup" && (line.split(" ")[3] ?? "").split(",").includes(name));
  }
  // Of every cgroup there, and no controllers.
  if (name === "freezer" || name === "devices") return true;
  return readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ").includes(name);
}

export function isKernel([major, minor]: readonly [number, number]): boolean {
  const [haveMajor = 0, haveMinor = 0] = release()
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  return haveMajor > major || (haveMajor === major && haveMinor >= minor);
}

export function hasCommand(name: string): boolean {
  return (process.env.PATH ?? "").split(":").some((dir) => dir !== "" && existsSync(join(dir, name)));
}
