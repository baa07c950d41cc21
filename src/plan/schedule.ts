/**
 * Where and when the process runs, and from which memory: CPUs, scheduler, I/O priority, memory policy, personality.
 * Rules: OCI config.md "Linux Process", config-linux.md "Memory policy", "Personality"; sched_setattr(2), ioprio_set(2),
 * set_mempolicy(2), personality(2).
 */
import type { LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, Scheduler } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";

const POLICIES: Readonly<Record<string, number>> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};

const SCHED_FLAGS: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 0x1,
  SCHED_FLAG_RECLAIM: 0x2,
  SCHED_FLAG_DL_OVERRUN: 0x4,
  SCHED_FLAG_KEEP_POLICY: 0x8,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
};

const IO_CLASSES: Readonly<Record<string, number>> = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 };

export const MEMORY_MODES: Readonly<Record<string, number>> = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
};

export const MEMORY_FLAGS: Readonly<Record<string, number>> = {
  MPOL_F_NUMA_BALANCING: 0x2000,
  MPOL_F_RELATIVE_NODES: 0x4000,
  MPOL_F_STATIC_NODES: 0x8000,
};

/** As many CPUs as a kernel may be built for. */
const ALL_CPUS_BYTES = 1024;

/**
 * All CPUs that the cgroup allows, whatever the caller is bound to: a daemon on one CPU does not bind what it starts.
 * To come after the cgroup is joined.
 */
export function planAllCpus(b: PlanBuilder): void {
  b.add("CPU affinity", "affinity", new Uint8Array(ALL_CPUS_BYTES).fill(0xff));
}

/** @param cpus a list as "0-3,7"; undefined and "": nothing is changed */
export function planCpus(b: PlanBuilder, about: string, cpus: string | undefined): void {
  const mask = bitsOf(cpus ?? "");
  if (mask.length > 0) b.add(about, "affinity", mask);
}

/** While the process still has every privilege. */
export function planScheduler(
  b: PlanBuilder,
  process: { scheduler?: Scheduler; ioPriority?: LinuxIOPriority },
  personality?: LinuxPersonality,
): void {
  const { scheduler, ioPriority } = process;
  if (scheduler !== undefined) b.add("process.scheduler", "schedAttr", schedAttr(scheduler));
  if (ioPriority !== undefined) {
    const value = (IO_CLASSES[ioPriority.class] ?? 0) * 0x2000 + (ioPriority.priority ?? 0);
    b.add("process.ioPriority", "ioPriority", value);
  }
  if (personality?.domain !== undefined) {
    b.add("linux.personality", "personality", personality.domain === "LINUX32" ? 8 : 0);
  }
}

/** To come after the cgroup is joined, whose memory nodes bound the policy's. */
export function planMemoryPolicy(b: PlanBuilder, policy: LinuxMemoryPolicy | undefined): void {
  if (policy?.mode === undefined) return;
  let mode = MEMORY_MODES[policy.mode] ?? 0;
  for (const flag of policy.flags ?? []) mode |= MEMORY_FLAGS[flag] ?? 0;
  b.add("linux.memoryPolicy", "memoryPolicy", mode, bitsOf(policy.nodes ?? ""));
}

/** struct sched_attr of the first version, 48 bytes; sched_setattr(2). */
function schedAttr({ policy, flags, nice, priority, runtime, deadline, period }: Scheduler): Uint8Array {
  const attr = new DataView(new ArrayBuffer(48));
  attr.setUint32(0, 48, true);
  attr.setUint32(4, POLICIES[policy] ?? 0, true);
  let bits = 0;
  for (const flag of flags ?? []) bits |= SCHED_FLAGS[flag] ?? 0;
  attr.setUint32(8, bits, true);
  attr.setInt32(16, nice ?? 0, true);
  attr.setUint32(20, priority ?? 0, true);
  attr.setBigUint64(24, BigInt(runtime ?? 0), true);
  attr.setBigUint64(32, BigInt(deadline ?? 0), true);
  attr.setBigUint64(40, BigInt(period ?? 0), true);
  return new Uint8Array(attr.buffer);
}

/** The bits of a list such as "0-3,7", in whole 64-bit words, the lowest first. An empty list has none. */
export function bitsOf(list: string): Uint8Array {
  const numbers: number[] = [];
  for (const part of list.split(",")) {
    const [first, last] = part.trim().split("-").map(Number);
    if (part.trim() === "" || first === undefined) continue;
    for (let n = first; n <= Math.min(last ?? first, ALL_CPUS_BYTES * 8 - 1); n++) numbers.push(n);
  }
  const words = numbers.length === 0 ? 0 : Math.floor(Math.max(...numbers) / 64) + 1;
  const bytes = new Uint8Array(words * 8);
  for (const n of numbers) bytes[n >> 3] = (bytes[n >> 3] ?? 0) | (1 << (n & 7));
  return bytes;
}
