/** The end of a process that this program started, awaited without blocking it. */
import { untilEnd } from "../init/monitor.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen, type WaitStatus, waitid } from "../sys/process.ts";

/** @param pid a child of this process: the one that `run` or `exec` made */
export async function exitOf(pid: number): Promise<WaitStatus> {
  const pidFd = pidfdOpen(pid);
  try {
    await untilEnd(pid, pidFd);
    return waitid({ pidFd });
  } finally {
    closeQuiet(pidFd);
  }
}
