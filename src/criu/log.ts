/** What the log of criu says went wrong. */

/** Those before the last are what the last one comes from. */
const LINES = 3;

/** Errors that say nothing of what went wrong: criu goes on after the first, and the others come after all is lost. */
const BESIDE = /Can't setup RLIMIT_NOFILE for self|(Dumping|Restoring) FAILED\.|cgroupd: recv req error/;

/** The last errors of a log, without times and places in criu's source; its last line when it has none. */
export function lastErrors(log: string): string[] {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  const all = lines.filter((line) => /\bError \([^)]*\): /.test(line));
  const errors = all.filter((line) => !BESIDE.test(line));
  const found = errors.length > 0 ? errors.slice(-LINES) : (all.length > 0 ? all : lines).slice(-1);
  return found.map((line) =>
    line
      .replace(/^.*?\bError \([^)]*\): /, "")
      .replace(/^\([\d.]+\)\s*/, "")
      .trim(),
  );
}
