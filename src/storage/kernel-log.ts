/**
 * The reasons that overlayfs writes into the kernel's log and nowhere else: all of them before Linux 6.5, and
 * since then those of the mount itself, such as "overlapping lowerdir path".
 * Format of a record: kernel Documentation/ABI/testing/dev-kmsg.
 */

import { isErrno } from "../errors.ts";
import { utf8Text } from "../sys/call.ts";
import { O_NONBLOCK, O_RDONLY } from "../sys/constants.ts";
import { syscall } from "../sys/ffi.ts";
import { closeQuiet, open, read } from "../sys/file.ts";
import { SYS } from "../sys/numbers.ts";

const SEEK_END = 2;

/** Runs `attempt` and gives the lines that overlayfs logged meanwhile; none where the log may not be read. */
export function overlayLogDuring(attempt: () => void): string[] {
  let log: number;
  try {
    log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  } catch {
    // A container without /dev/kmsg, or no CAP_SYSLOG: the log is only there to say more.
    attempt();
    return [];
  }
  try {
    syscall(SYS.lseek, log, 0, SEEK_END);
    attempt();
    return readLines(log);
  } finally {
    closeQuiet(log);
  }
}

function readLines(log: number): string[] {
  const buffer = new Uint8Array(8192);
  const lines: string[] = [];
  // Each read gives one record; EAGAIN when there are no more, EPIPE when some were overwritten.
  for (let count = 0; count < 256; count++) {
    try {
      const line = overlayLine(utf8Text(buffer.subarray(0, read(log, buffer))));
      if (line !== undefined && !lines.includes(line)) lines.push(line);
    } catch (error) {
      if (!isErrno(error, "EPIPE")) break;
    }
  }
  return lines;
}

/** The text of a record, without "overlayfs: ", if it is one of overlayfs: "3,1234,5678,-;overlayfs: text\n". */
export function overlayLine(record: string): string | undefined {
  const text = record.slice(record.indexOf(";") + 1).split("\n")[0] ?? "";
  return text.startsWith("overlayfs: ") ? text.slice("overlayfs: ".length) : undefined;
}
