/** A table as `ps -ef` prints it, from /proc, for hosts without ps. See proc_pid_stat(5). */
import { escapeControl } from "../log.ts";
import { readFileSync, statSync } from "../sys/fs.ts";

/** Kernel clock ticks a second in /proc; USER_HZ is 100 on every architecture tsrun knows. */
const TICKS = 100;

export function processTable(pids: readonly number[]): string {
  const rows = [["UID", "PID", "PPID", "STAT", "TIME", "CMD"]];
  for (const pid of pids) {
    const row = processRow(pid);
    if (row !== undefined) rows.push(row);
  }
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length))) ?? [];
  return rows
    .map(
      (row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd((widths[i] ?? 0) + 2))).join("")}\n`,
    )
    .join("");
}

/** undefined when the process has ended meanwhile. */
function processRow(pid: number): string[] | undefined {
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`));
    const command = readFileSync(`/proc/${pid}/cmdline`).replace(/\0$/, "").replaceAll("\0", " ");
    return [
      String(statSync(`/proc/${pid}`)?.uid),
      String(pid),
      stat.ppid,
      stat.state,
      time(stat.ticks),
      // A process of the container chooses this text.
      escapeControl(command === "" ? `[${stat.name}]` : command),
    ];
  } catch {
    return undefined;
  }
}

/** The name may hold blanks and parentheses, so fields are counted from its last closing one. */
export function parseStat(text: string): { name: string; state: string; ppid: string; ticks: number } {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = text.slice(close + 2).split(" ");
  return {
    name: text.slice(open + 1, close),
    state: fields[0] ?? "?",
    ppid: fields[1] ?? "0",
    ticks: Number(fields[11] ?? 0) + Number(fields[12] ?? 0),
  };
}

function time(ticks: number): string {
  const seconds = Math.floor(ticks / TICKS);
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
