/**
 * The reasons that overlayfs writes into the kernel's log and nowhere else: all of them before Linux 6.5, and
 * since then those of the mount itself, such as "overlapping lowerdir path".
 */
import { closeQuiet } from "../sys/file.ts";
import { openKernelLog, readKernelLog, skipToEnd } from "../sys/kernel-log.ts";

/** More than one mount has to say. */
const MOST_RECORDS = 256;

/** Runs `attempt` and gives the lines that overlayfs logged meanwhile; none where the log may not be read. */
export function overlayLogDuring(attempt: () => void): string[] {
  const log = openKernelLog();
  if (log === undefined) {
    // The log is only there to say more.
    attempt();
    return [];
  }
  try {
    skipToEnd(log);
    attempt();
    const lines: string[] = [];
    readKernelLog(log, MOST_RECORDS, (record) => {
      const line = overlayLine(record);
      if (line !== undefined && !lines.includes(line)) lines.push(line);
    });
    return lines;
  } finally {
    closeQuiet(log);
  }
}

/** The text of a record, without "overlayfs: ", if it is one of overlayfs: "3,1234,5678,-;overlayfs: text\n". */
export function overlayLine(record: string): string | undefined {
  const text = record.slice(record.indexOf(";") + 1).split("\n")[0] ?? "";
  return text.startsWith("overlayfs: ") ? text.slice("overlayfs: ".length) : undefined;
}
