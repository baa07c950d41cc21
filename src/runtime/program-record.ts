/** A program outside that a container of an ordinary user needs: remembered in the state, and ended with the container. */
import { isErrno } from "../errors.ts";
import { POLLIN } from "../sys/constants.ts";
import { pidfdSendSignal, pollFd, waitid } from "../sys/process.ts";
import { processStat } from "./lifecycle.ts";
import { openRecorded } from "./recorded.ts";

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
export function endProgram(record: ProgramRecord): void {
  using held = openRecorded(record);
  if (held === undefined) return;
  try {
    pidfdSendSignal(held.fd, SIGKILL);
  } catch (error) {
    // It ends by itself with what it serves, and may just have done so.
    if (!isErrno(error, "ESRCH")) throw error;
  }
  pollFd(held.fd, POLLIN, TIMEOUT_MS);
  try {
    waitid({ pidFd: held.fd });
  } catch (error) {
    // Mostly it is no child of ours.
    if (!isErrno(error, "ECHILD")) throw error;
  }
}
