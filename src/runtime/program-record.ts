/** A program outside that a container of an ordinary user needs: remembered in the state, and ended with the container. */
import { isErrno } from "../errors.ts";
import { POLLIN } from "../sys/constants.ts";
import { Fd } from "../sys/file.ts";
import { pidfdOpen, pidfdSendSignal, pollFd, waitid } from "../sys/process.ts";
import { isAlive, processStat } from "./lifecycle.ts";

export interface ProgramRecord {
  program: string;
  pid: number;
  startTime: number;
}

const SIGKILL = 9;
const TIMEOUT_MS = 20_000;

export function programRecord(program: string, pid: number): ProgramRecord {
  return { program, pid, startTime: processStat(pid)?.startTime ?? 0 };
}

/** Ends the program, if it is still the one that was started. */
export function endProgram({ pid, startTime }: ProgramRecord): void {
  let pidFd: Fd;
  try {
    pidFd = new Fd(pidfdOpen(pid));
  } catch (error) {
    if (isErrno(error, "ESRCH", "EINVAL")) return;
    throw error;
  }
  using held = pidFd;
  // Between these two the number cannot become another's.
  if (!isAlive(pid, startTime)) return;
  pidfdSendSignal(held.fd, SIGKILL);
  pollFd(held.fd, POLLIN, TIMEOUT_MS);
  try {
    waitid({ pidFd: held.fd });
  } catch (error) {
    // Mostly it is no child of ours.
    if (!isErrno(error, "ECHILD")) throw error;
  }
}
