/** What the log of criu says went wrong. */

/** Those before the last are what the last one comes from. */
const LINES = 3;

/** The last errors of a log, without times and places in criu's source; its last line when it has none. */
export function lastErrors(log: string): string[] {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  const errors = lines.filter((line) => /\bError \([^)]*\): /.test(line));
  const found = errors.length > 0 ? errors.slice(-LINES) : lines.slice(-1);
  return found.map((line) =>
    line
      .replace(/^.*?\bError \([^)]*\): /, "")
      .replace(/^\([\d.]+\)\s*/, "")
      .trim(),
  );
}
