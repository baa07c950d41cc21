/**
 * Processes that the kernel has killed for want of memory, as its log tells: of a cgroup that is gone nothing else knows.
 *
 * Under one lock the kernel writes where the victim was ("oom-kill:...", at most ten times in five seconds) and whom it
 * kills ("Killed process PID", always), before that process can end. /proc/vmstat counts the latter, for the whole machine:
 * of N kills since a moment the log has the last N lines, whatever the clocks say.
 * Rules: kernel mm/oom_kill.c (oom_kill_process), memcontrol.c (mem_cgroup_print_oom_context), lib/ratelimit.c.
 */
import { utf8Bytes } from "../sys/call.ts";

/** One "Killed process" line. */
export interface LoggedKill {
  /** As the machine counts, outside of all pid namespaces. */
  pid: number;
  /** The cgroup whose limit it was, and the victim's, in the kernel's words; undefined when the log does not say. */
  where: string | undefined;
}

/** The kernel writes no more than ten of "oom-kill:" in five seconds; its clock and that of the log may differ a little. */
const BURST = 10;
const INTERVAL_US = 5_500_000;

const INFO = "oom-kill:constraint=";
/** What comes before may have a name of a cgroup, which has no "/". */
const WHERE = /,(oom_memcg=\/.*|global_oom,task_memcg=\/.*)$/;
const GROUP = /^Tasks in (\/.*) are going to be killed due to memory\.oom\.group set$/;
const KILLED = /^(?:Memory cgroup out of memory|Out of memory[^:]*): Killed process (\d+) \(/;

/** Takes the records of the log, the oldest first. */
export class KillLog {
  /** The latest last. */
  kills: LoggedKill[] = [];
  #told: { pid: number; where: string } | undefined;
  #group: string | undefined;
  /** When "oom-kill:" was written, and when records before the next one were lost. */
  #times: number[] = [];
  #isCut = false;
  #isFirst = true;

  take(record: string): void {
    // There may be ten thousand.
    if (!this.#isFirst && !this.#isCut && !isNews(record)) return;
    const [head, text] = splitOnce(record, ";");
    const [prefix, sequence, time] = head.split(",");
    // Who writes to /dev/kmsg is no kernel: its facility is another.
    if (Number(prefix) >> 3 !== 0) return;
    const timeUs = Number(time);
    if (this.#isFirst ? sequence !== "0" : this.#isCut) this.#forget(timeUs);
    this.#isFirst = this.#isCut = false;
    const [line] = splitOnce(text, "\n");
    if (line.startsWith(INFO)) this.#info(line, timeUs);
    else if (line.startsWith("Tasks in ")) this.#group = GROUP.exec(line)?.[1];
    else this.#killed(line, timeUs);
  }

  /** Records are missing here: what was taken so far is not what came directly before. */
  cut(): void {
    this.#isCut = true;
  }

  #forget(timeUs: number): void {
    this.kills = [];
    this.#told = this.#group = undefined;
    // As if the kernel had just written all that it writes.
    this.#times = new Array(BURST).fill(timeUs);
  }

  #info(line: string, timeUs: number): void {
    this.#times = [...this.#times, timeUs].slice(-BURST);
    this.#group = undefined;
    const pid = /,pid=(\d+),uid=\d+$/.exec(line)?.[1];
    const where = WHERE.exec(line)?.[1];
    this.#told = pid === undefined || where === undefined ? undefined : { pid: Number(pid), where };
  }

  #killed(line: string, timeUs: number): void {
    const pid = Number(KILLED.exec(line)?.[1]);
    if (Number.isNaN(pid)) return;
    const told = this.#told?.pid === pid ? this.#told.where : undefined;
    // Others of a group, or one more of whom nothing was written.
    const [oldest] = this.#times;
    const isSilent = this.#times.length === BURST && oldest !== undefined && timeUs - oldest <= INTERVAL_US;
    const member = this.#group === undefined || isSilent ? undefined : `group=${this.#group}`;
    this.kills.push({ pid, where: told ?? member });
  }
}

export interface OomAnswer {
  oomKilled: boolean;
  /** Not there when it may have been more. */
  oomKills?: number;
}

/** What tells a container from others in the log; a member that cannot be told is undefined. */
export interface Suspect {
  /** Its cgroup in the hierarchy of the memory controller. */
  path: string | undefined;
  /** Its first process as the machine counts. */
  pid: number | undefined;
}

/**
 * @param count how many processes the machine has killed since before the container was there
 * @returns undefined when the log does not say
 */
export function killsOf(kills: readonly LoggedKill[], count: number, suspect: Suspect): OomAnswer | undefined {
  const recent = count > 0 ? kills.slice(-count) : [];
  let ours = 0;
  let unknown = Math.abs(count - recent.length);
  for (const kill of recent) {
    const isOurs = concerns(kill, suspect);
    if (isOurs) ours++;
    else if (isOurs === undefined) unknown++;
  }
  if (unknown === 0) return { oomKilled: ours > 0, oomKills: ours };
  return ours > 0 ? { oomKilled: true } : undefined;
}

/** @returns undefined when it may be so */
function concerns({ pid, where }: LoggedKill, suspect: Suspect): boolean | undefined {
  // A process has its number for as long as it lives: a later one of that number is not to be told from it here.
  if (where === undefined || suspect.path === undefined) return pid === suspect.pid || undefined;
  const path = escapePath(suspect.path);
  const above = ancestors(path);
  // Names of cgroups may have commas: a line is compared from its beginning, and never taken apart.
  const limits = ["global_oom", ...[...above, path].map((group) => `oom_memcg=${group}`)];
  const starts = (rest: string) => limits.some((limit) => where.startsWith(`${limit},task_memcg=${rest}`));
  if (where === `group=${path}` || where.startsWith(`group=${path}/`) || where.startsWith(`oom_memcg=${path}/`))
    return true;
  if (starts(`${path},task=`) || starts(`${path}/`)) return true;
  // Where the container's has no memory controller, its processes count in one above.
  if (above.some((group) => where === `group=${group}` || starts(`${group},task=`))) return undefined;
  return false;
}

function ancestors(path: string): string[] {
  const above = ["/"];
  for (let at = path.indexOf("/", 1); at >= 0; at = path.indexOf("/", at + 1)) above.push(path.slice(0, at));
  return above;
}

/** As the log has it: the "\x2d" of systemd's names is "\x5cx2d" there. */
function escapePath(path: string): string {
  let text = "";
  for (const byte of utf8Bytes(path)) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
    text += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}

function isNews(record: string): boolean {
  const at = record.indexOf(";") + 1;
  for (const start of ["oom-kill:", "Tasks in ", "Memory cgroup out", "Out of memory"]) {
    if (record.startsWith(start, at)) return true;
  }
  return false;
}

function splitOnce(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + mark.length)];
}
