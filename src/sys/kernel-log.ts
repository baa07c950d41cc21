/** The kernel's log, a record at a time. Format: kernel Documentation/ABI/testing/dev-kmsg. */
import { isErrno } from "../errors.ts";
import { utf8Text } from "./call.ts";
import { O_NONBLOCK, O_RDONLY } from "./constants.ts";
import { syscall } from "./ffi.ts";
import { open, read } from "./file.ts";
import { SYS } from "./numbers.ts";

const SEEK_END = 2;

/** The kernel gives a record whole or not at all. */
const RECORD_BYTES = 8192;

/** From the oldest record that there is. @returns undefined where it may not be read: no /dev/kmsg, no CAP_SYSLOG */
export function openKernelLog(): number | undefined {
  try {
    return open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  } catch {
    return undefined;
  }
}

/** What is logged from now on is read next. */
export function skipToEnd(log: number): void {
  syscall(SYS.lseek, log, 0, SEEK_END);
}

/**
 * Hands out the records that are there, as "6,339,5140900,-;text\n" with backslashes and what is not ASCII as \xNN.
 *
 * @param limit how many at most
 * @param onLoss told when some that came before the next one were overwritten unread
 */
export function readKernelLog(log: number, limit: number, take: (record: string) => void, onLoss?: () => void): void {
  const buffer = new Uint8Array(RECORD_BYTES);
  for (let count = 0; count < limit; count++) {
    let length: number;
    try {
      length = read(log, buffer);
    } catch (error) {
      // EAGAIN: there are no more.
      if (!isErrno(error, "EPIPE")) return;
      onLoss?.();
      continue;
    }
    // What is no log, such as a /dev/null that somebody has put there.
    if (length === 0) return;
    take(utf8Text(buffer.subarray(0, length)));
  }
}
