/** The process of a record, by a descriptor that names it for good. pidfd_open(2). */
import { isErrno } from "../errors.ts";
import { Fd } from "../sys/file.ts";
import { pidfdOpen } from "../sys/process.ts";
import { isAlive } from "./lifecycle.ts";

/** @returns undefined when it has ended, whoever has its pid now */
export function openRecorded({ pid, startTime }: { pid: number; startTime: number }): Fd | undefined {
  let pidFd: number;
  try {
    pidFd = pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, "ESRCH", "EINVAL")) return undefined;
    throw error;
  }
  using held = new Fd(pidFd);
  // Looked at after it was opened: between these two the pid cannot become another's.
  return isAlive(pid, startTime) ? new Fd(held.release()) : undefined;
}
