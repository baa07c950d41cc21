/**
 * What a container is now: its record tells how far it got, the kernel whether its process lives.
 * Statuses: OCI runtime.md "State", and "paused" as runc has it.
 */
import { isFrozen } from "../cgroup/manager.ts";
import { isErrno } from "../errors.ts";
import { readFileSync } from "../sys/fs.ts";
import type { ContainerStatus } from "./options.ts";
import type { StateRecord } from "./state.ts";

export function statusOf(record: StateRecord): ContainerStatus {
  if (record.pid === 0) return record.phase === "creating" ? "creating" : "stopped";
  if (!isAlive(record.pid, record.startTime)) return "stopped";
  if (record.phase === "creating") return "creating";
  return record.cgroup && isFrozen(record.cgroup) ? "paused" : record.phase;
}

/** Is this pid still the process that started then? A zombie is not alive. */
export function isAlive(pid: number, startTime: number): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== "Z" && stat.state !== "X";
}

/** Fields of proc_pid_stat(5); undefined when there is no such process. */
export function processStat(pid: number): { state: string; startTime: number; fields: string[] } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`);
  } catch (error) {
    // ESRCH: it ended between open and read. Anything else says nothing of the process, and "stopped" would be a guess.
    if (isErrno(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
  // The name in parentheses may hold anything, spaces and parentheses too: fields are counted from its end.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "X", startTime: Number(fields[19]), fields };
}

/** The status of wait(2) of a process that has ended and that its parent has not collected; undefined otherwise. */
export function zombieStatus(pid: number, startTime: number): number | undefined {
  const stat = processStat(pid);
  return stat?.startTime === startTime && stat.state === "Z" ? Number(stat.fields[49]) : undefined;
}
