/** Ends all of a container, whatever it is doing. */
import { cgroupProcesses, isFrozen, killCgroup, thaw } from "../cgroup/manager.ts";
import { StateError } from "../errors.ts";
import { pollEnd } from "./children.ts";
import { signalProcess } from "./kill.ts";
import { processStat } from "./lifecycle.ts";
import { openRecorded } from "./recorded.ts";
import type { StateRecord } from "./state.ts";

const SIGKILL = 9;
/** How long a process may take to die: one that waits for a disk or a network file system does not at once. */
const KILL_TIMEOUT_MS = 10_000;

/** SIGKILL, and waits until it has died. @throws StateError when it does not in time */
export function endContainer(record: StateRecord): void {
  if (record.cgroup) killCgroup(record.cgroup, SIGKILL);
  if (!signalProcess(record, SIGKILL)) return;
  // Where others are in its cgroup that was left alone, and frozen on v1 nothing dies.
  if (record.cgroup && isFrozen(record.cgroup)) thaw(record.cgroup);
  using process = openRecorded(record);
  if (process !== undefined && !pollEnd(process.fd, KILL_TIMEOUT_MS)) {
    throw new StateError("container init still running", { fix: whatHolds(record) });
  }
}

/** Which process does not die: the first one ends after all others of its pid namespace. */
function whatHolds(record: StateRecord): string {
  const pids = new Set([record.pid, ...(record.cgroup ? cgroupProcesses(record.cgroup) : [])]);
  const asleep = [...pids].filter((pid) => processStat(pid)?.state === "D");
  const what = `see /proc/${asleep[0] ?? record.pid}/stack for what it waits for, and delete again when it has ended`;
  if (asleep.length === 0) return `process ${record.pid} does not die: ${what}`;
  return `in uninterruptible sleep (state D in ps): ${asleep.slice(0, 10).join(" ")}: ${what}`;
}
