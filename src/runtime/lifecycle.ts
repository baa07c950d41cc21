/**
 * What a container is now: its record tells how far it got, the kernel whether its process lives.
 * Statuses: OCI runtime.md "State", and "paused" as runc has it.
 */
import { isFrozen } from "../cgroup/manager.ts";
import { isErrno, TsrunError } from "../errors.ts";
import { readFileSync } from "../sys/fs.ts";
import { kill } from "../sys/process.ts";
import type { ContainerStatus } from "./options.ts";
import type { StateRecord } from "./state.ts";

export function statusOf(record: StateRecord): ContainerStatus {
  if (record.pid === 0) return record.phase === "creating" ? "creating" : "stopped";
  if (!isAlive(record.pid, record.startTime)) return "stopped";
  if (record.phase === "creating") return "creating";
  return record.cgroup && isFrozen(record.cgroup) ? "paused" : record.phase;
}

/**
 * Has it ended with all of its processes, as a pid namespace does with its first one? What is in its cgroup by now is of
 * another container, which was made in the same one. Without a pid namespace of its own nobody can tell.
 */
export function hasEndedWhole({ pid, startTime, phase, ownPidNamespace }: StateRecord): boolean {
  return ownPidNamespace && phase !== "creating" && !isAlive(pid, startTime);
}

/** Is this pid still the process that started then? A zombie is not alive. */
export function isAlive(pid: number, startTime: number): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && !hasEnded(stat);
}

/** A first thread that has ended by itself (pthread_exit(3)) is a zombie, too, for as long as there are others. */
function hasEnded({ state, fields }: ProcessStat): boolean {
  return (state === "Z" || state === "X") && !(Number(fields[17]) > 1);
}

interface ProcessStat {
  state: string;
  startTime: number;
  /** From the state on, which is the third. */
  fields: string[];
}

/**
 * Fields of proc_pid_stat(5); undefined when there is no such process.
 *
 * @throws TsrunError for one that there is, and that /proc does not show
 */
export function processStat(pid: number): ProcessStat | undefined {
  let text = readStat(pid);
  // Its number may just have become another's.
  if (text === undefined && isThere(pid)) text = readStat(pid);
  if (text === undefined) {
    if (!isThere(pid)) return undefined;
    throw new TsrunError(`what process ${pid} does cannot be seen in /proc`, {
      fix: "mount procfs there, without hidepid: mount -t proc proc /proc",
    });
  }
  // The name in parentheses may hold anything, spaces and parentheses too: fields are counted from its end.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "X", startTime: Number(fields[19]), fields };
}

function readStat(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`);
  } catch (error) {
    // ESRCH: it ended between open and read. Anything else says nothing of the process, and "stopped" would be a guess.
    if (isErrno(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}

/** Whether the kernel knows of it, which it also says of one that we may not signal. */
function isThere(pid: number): boolean {
  if (pid < 1) return false;
  try {
    kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, "ESRCH");
  }
}

/** The status of wait(2) of a process that has ended and that its parent has not collected; undefined otherwise. */
export function zombieStatus(pid: number, startTime: number): number | undefined {
  const stat = processStat(pid);
  return stat?.startTime === startTime && stat.state === "Z" && hasEnded(stat) ? Number(stat.fields[49]) : undefined;
}
