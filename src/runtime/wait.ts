/** The end of a process that this program started, awaited without blocking it. */
import { untilEnd } from "../init/monitor.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen, type WaitStatus, waitid } from "../sys/process.ts";
import type { Readiness } from "./notify.ts";

/**
 * @param pid a child of this process: the one that `run` made
 * @param readiness passed on meanwhile
 */
export async function exitOf(pid: number, readiness?: Readiness): Promise<WaitStatus> {
  const pidFd = pidfdOpen(pid);
  try {
    await untilEnd(pid, pidFd, readiness);
    return waitid({ pidFd });
  } finally {
    closeQuiet(pidFd);
  }
}
