/**
 * The process itself: limits, credentials, capabilities, what is executed.
 * Rules: OCI config.md "Process", config-linux.md; capabilities(7), credentials(7), execve(2).
 */
import type { Host } from "../host.ts";
import { O_WRONLY, RLIMITS } from "../linux.ts";
import { capabilityNumber } from "../spec/capabilities.ts";
import type { ResolvedProcess } from "../spec/container.ts";
import type { LinuxCapabilities, LinuxPersonality } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";
import { NOTIFY_VARIABLE } from "./notify.ts";
import { planScheduler } from "./schedule.ts";
import { planFilter } from "./seccomp.ts";

export interface ProcessPlan {
  process: ResolvedProcess;
  /** HOME when the environment has none. */
  home: string | undefined;
  /** May setgroups(2) be called? */
  setgroups: boolean;
  /** The capabilities that can be given. The spec wants others left out, not refused: engines ask for all there are. */
  available: bigint;
  seccomp: { flags: number; program: Uint8Array } | undefined;
  personality?: LinuxPersonality | undefined;
  /** Descriptors from here on are closed at execve(2). */
  firstFd: number;
  /** How many descriptors from 3 on were handed over as LISTEN_FDS. */
  listenFds: number;
  /** Their names, with colons between them. */
  listenFdNames?: string | undefined;
  /** Does somebody wait for its readiness? */
  notifies: boolean;
}

/** Before the clone and inherited by it: inside a user namespace the kernel refuses to lower it. */
export function planOomScore(b: PlanBuilder, { oomScoreAdj }: ResolvedProcess, host: Host): void {
  if (oomScoreAdj === undefined) return;
  const fd = b.newFd();
  // The files of a process that is not dumpable are root's. This one is then no more open to others than tsrun is.
  const mustOpen = host.euid !== 0;
  if (mustOpen) b.add("process.oomScoreAdj", "dumpable", 1);
  b.add("process.oomScoreAdj", "open", fd, "/proc/self/oom_score_adj", O_WRONLY, 0);
  if (mustOpen) b.add("process.oomScoreAdj", "dumpable", 0);
  b.add("process.oomScoreAdj", "write", fd, String(oomScoreAdj));
  b.add("process.oomScoreAdj", "close", fd);
}

/**
 * Hard limits above those of tsrun, for a process that will be in a user namespace: the right to raise them counts on
 * the host alone. Being higher than before they disturb nothing until planLimits sets them in full.
 */
export function planRaisedLimits(b: PlanBuilder, { rlimits }: ResolvedProcess, host: Host): void {
  for (const { type, hard } of rlimits ?? []) {
    const most = host.hardLimits[type];
    if (most === undefined || u64(hard) <= most) continue;
    b.add(`process.rlimits ${type}`, "rlimit", RLIMITS[type] ?? -1, u64(hard), u64(hard));
  }
}

/** Resource limits and the file mode mask; while the process still has every privilege. */
export function planLimits(b: PlanBuilder, plan: ProcessPlan): void {
  const { process } = plan;
  for (const limit of process.rlimits ?? []) {
    b.add(`process.rlimits ${limit.type}`, "rlimit", RLIMITS[limit.type] ?? -1, u64(limit.soft), u64(limit.hard));
  }
  planScheduler(b, process, plan.personality);
  // 0022 is what runc and crun leave when nothing is said.
  b.add("process.user.umask", "umask", process.user.umask ?? 0o22);
}

/** JSON numbers above 2^53 have lost their last digits: RLIM_INFINITY arrives as 2^64. */
function u64(value: number): bigint {
  const max = 0xffffffffffffffffn;
  if (value >= 2 ** 64) return max;
  return BigInt(value) & max;
}

interface CapabilityMasks {
  bounding: bigint;
  effective: bigint;
  permitted: bigint;
  inheritable: bigint;
  ambient: bigint;
}

/** From root to the user asked for: groups, ids, capabilities, working directory; then the executable is looked for. */
export function planCredentials(b: PlanBuilder, plan: ProcessPlan): void {
  const { process } = plan;
  const { user } = process;
  const masks = capabilityMasks(process.capabilities, plan.available);
  if (process.noNewPrivileges) b.add("process.noNewPrivileges", "noNewPrivs");
  b.add("process.capabilities.bounding", "boundingSet", masks.bounding);
  // Pipes and files of the caller's are opened again as /dev/stdout; a terminal of the container's own is its user's.
  if (!process.terminal) b.add("process.user", "stdio", user.uid);
  // Callers name directories that the user may not enter, as /root for another; the user may enter some that root may
  // not, on network file systems.
  b.add("process.cwd", "enter", process.cwd);
  const groups = (user.additionalGids ?? []).map(String);
  const setgroups = plan.setgroups || groups.length > 0 ? 1 : 0;
  b.add("process.user", "user", user.uid, user.gid, setgroups, groups);
  if (needsLateCapabilities(plan)) {
    // Loading a filter without no_new_privs needs CAP_SYS_ADMIN until then: kept, but in no use.
    b.add("process.capabilities", "capabilities", masks.effective, masks.permitted | SYS_ADMIN, masks.inheritable, 0);
  } else {
    planCapabilities(b, masks);
  }
  b.add("process.cwd", "chdir", process.cwd);
  b.add("process.args", "findExecutable", candidates(process));
}

/** The last steps: the seccomp filter, as late as can be so that it need not allow what tsrun does, and execve(2). */
export function planExec(b: PlanBuilder, plan: ProcessPlan): void {
  const { process, seccomp } = plan;
  b.add("process.args", "cloexecFrom", plan.firstFd);
  if (seccomp) {
    const masks = capabilityMasks(process.capabilities, plan.available);
    const late = needsLateCapabilities(plan);
    if (late) {
      const effective = masks.effective | SYS_ADMIN;
      b.add("linux.seccomp", "capabilities", effective, masks.permitted | SYS_ADMIN, masks.inheritable, 0);
    }
    planFilter(b, "linux.seccomp", seccomp);
    if (late) planCapabilities(b, masks);
  }
  b.add("process.args", "exec", process.args ?? [], environment(plan));
}

const SYS_ADMIN = 1n << 21n;

function needsLateCapabilities(plan: ProcessPlan): boolean {
  return plan.seccomp !== undefined && !plan.process.noNewPrivileges;
}

function planCapabilities(b: PlanBuilder, masks: CapabilityMasks): void {
  const { effective, permitted, inheritable, ambient } = masks;
  b.add("process.capabilities", "capabilities", effective, permitted, inheritable, ambient);
}

/** The five sets. None is widened: inheritable is what was asked, ambient only what is permitted and inheritable too. */
export function capabilityMasks(sets: LinuxCapabilities | undefined, available: bigint): CapabilityMasks {
  const mask = (names: readonly string[] | undefined): bigint => {
    let bits = 0n;
    for (const name of names ?? []) {
      const number = capabilityNumber(name);
      if (number >= 0) bits |= 1n << BigInt(number);
    }
    return bits & available;
  };
  const permitted = mask(sets?.permitted);
  const inheritable = mask(sets?.inheritable);
  return {
    bounding: mask(sets?.bounding),
    effective: mask(sets?.effective),
    permitted,
    inheritable,
    ambient: mask(sets?.ambient) & permitted & inheritable,
  };
}

/** In a user namespace of its own the process has every capability that the kernel has; otherwise what tsrun has. */
export function availableCapabilities(host: Host, userns: boolean): bigint {
  const known = (1n << BigInt(host.lastCap + 1)) - 1n;
  return userns ? known : known & host.capabilities;
}

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where the executable may be: the name itself when it has a slash, else each directory of PATH as execvp(3) does. */
export function candidates(process: ResolvedProcess): string[] {
  const name = process.args?.[0] ?? "";
  if (name === "" || name.includes("/")) return [name];
  const path = lastValue(process.env ?? [], "PATH") ?? DEFAULT_PATH;
  // An empty entry means the current directory; Go and the shells that hardened this leave it out, and so do we.
  return path
    .split(":")
    .filter((dir) => dir !== "")
    .map((dir) => `${dir}/${name}`);
}

/** The environment as asked, with HOME added when there is none or an empty one. */
function environment({ process, home, listenFds, listenFdNames, notifies }: ProcessPlan): string[] {
  let env = [...(process.env ?? [])];
  if (listenFds > 0) {
    // Those of the config would be found first, and are about descriptors that it does not have.
    env = env.filter((entry) => !/^LISTEN_(FDS|PID|FDNAMES)=/.test(entry));
    env.push(`LISTEN_FDS=${listenFds}`, "LISTEN_PID=1");
    if (listenFdNames) env.push(`LISTEN_FDNAMES=${listenFdNames}`);
  }
  // One of the config's own would be found first.
  if (notifies) env = [...env.filter((entry) => !entry.startsWith("NOTIFY_SOCKET=")), NOTIFY_VARIABLE];
  if (home === undefined || lastValue(env, "HOME")) return env;
  return [...env.filter((entry) => !entry.startsWith("HOME=")), `HOME=${home}`];
}

/** The last setting of a variable wins, as with getenv(3) after putenv(3). */
export function lastValue(env: readonly string[], name: string): string | undefined {
  const prefix = `${name}=`;
  let value: string | undefined;
  for (const entry of env) if (entry.startsWith(prefix)) value = entry.slice(prefix.length);
  return value;
}
