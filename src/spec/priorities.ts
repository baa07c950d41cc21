/**
 * How a process stands beside the others of the machine: its scheduler, its I/O class, its score with the OOM killer.
 * These are the machine's, so no right in a user namespace counts.
 * Rules: sched_setattr(2), ioprio_set(2), proc_pid_oom_score_adj(5), getrlimit(2) on RLIMIT_NICE and RLIMIT_RTPRIO.
 */
import type { Problem } from "../errors.ts";
import type { Host } from "./container.ts";
import { uint64 } from "./numbers.ts";
import type { Process, Scheduler } from "./types.ts";

const CAP_SYS_NICE = 1n << 23n;
const CAP_SYS_RESOURCE = 1n << 24n;

/** @param userns is the process in a user namespace of the container? */
export function priorityProblems(process: Process | undefined, userns: boolean, host: Host): Problem[] {
  const { oomScoreAdj, scheduler, ioPriority } = process ?? {};
  const has = (capability: bigint) => !host.userns && (host.capabilities & capability) !== 0n;
  const problems: Problem[] = [];
  // Written before the process is in its namespace.
  if (oomScoreAdj !== undefined && !has(CAP_SYS_RESOURCE) && !host.mayHaveOomScore(oomScoreAdj)) {
    const message = `${oomScoreAdj} is less than this process may have without CAP_SYS_RESOURCE over the machine`;
    problems.push({ path: "process.oomScoreAdj", message });
  }
  if (!userns && has(CAP_SYS_NICE)) return problems;
  const need = needsNice(userns);
  if (scheduler !== undefined) {
    problems.push(...schedulerProblems(scheduler, { need, host, process }));
  }
  if (ioPriority?.class === "IOPRIO_CLASS_RT") {
    problems.push({ path: "process.ioPriority.class", message: `${ioPriority.class} ${need}` });
  }
  return problems;
}

interface Asker {
  need: string;
  host: Host;
  process: Process | undefined;
}

function schedulerProblems(scheduler: Scheduler, { need, host, process }: Asker): Problem[] {
  const { policy, priority = 0, nice = 0, flags = [] } = scheduler;
  if (policy === "SCHED_DEADLINE") return [{ path: "process.scheduler.policy", message: `${policy} ${need}` }];
  // What it has now it may keep.
  if (flags.some((flag) => flag.startsWith("SCHED_FLAG_KEEP_"))) return [];
  if (policy === "SCHED_FIFO" || policy === "SCHED_RR") {
    if (priority <= host.scheduling.priority || priority <= limitOf("RLIMIT_RTPRIO", process, host)) return [];
    return [{ path: "process.scheduler.policy", message: `${policy} ${need}, or an RLIMIT_RTPRIO of ${priority}` }];
  }
  if (policy !== "SCHED_OTHER" && policy !== "SCHED_BATCH") return [];
  const limit = 20 - nice;
  if (nice >= host.scheduling.nice || limit <= limitOf("RLIMIT_NICE", process, host)) return [];
  const message = `${nice} is less than this process has (${host.scheduling.nice}): ${need}, or an RLIMIT_NICE of ${limit}`;
  return [{ path: "process.scheduler.nice", message }];
}

function needsNice(userns: boolean): string {
  return `needs CAP_SYS_NICE over the machine${userns ? ", which nobody in a user namespace has" : ""}`;
}

/** The most that the process's own limit can be: its soft limit counts, which is set before. */
function limitOf(type: string, process: Process | undefined, host: Host): bigint {
  const soft = process?.rlimits?.find((limit) => limit.type === type)?.soft;
  return soft === undefined ? (host.hardLimits[type] ?? 0n) : uint64(soft);
}
