/**
 * A process that was cloned into a frozen cgroup stands still before its first instruction: it has told nobody its pid,
 * and who cloned it has ended.
 */
import { groupProcesses } from "../cgroup/files.ts";
import { readFileSync } from "../sys/fs.ts";
import { end } from "./converse.ts";
import { processStat } from "./lifecycle.ts";

/**
 * Ends those of this process in a cgroup.
 *
 * @param containerPid may be a child of ours, too, that waits for `start`
 */
export function endUnborn(group: string, containerPid: number): void {
  for (const pid of groupProcesses(group)) {
    if (pid !== containerPid && isOurs(pid)) end(pid);
  }
}

/** A child of ours that was not executed yet. */
function isOurs(pid: number): boolean {
  return Number(processStat(pid)?.fields[1]) === process.pid && commandLine(pid).startsWith("tsrun-init\0");
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`);
  } catch {
    return ""; // It has ended.
  }
}
