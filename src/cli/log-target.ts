/**
 * Where --log leads: a file, systemd's journal or the system log; the words are those of crun(1). Rules:
 * systemd.io/JOURNAL_NATIVE_PROTOCOL; the system log as syslog(3) speaks to it (RFC 3164).
 */
import { isErrno, SyscallError } from "../errors.ts";
import { escapeControl, formatLine, type Level, type LogFormat, logTime } from "../log.ts";
import { SOCK_DGRAM } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { appendFileSync } from "../sys/fs.ts";
import { sendMsg, unixConnect } from "../sys/socket.ts";

export interface LogLine {
  level: Level;
  message: string;
  time: Date;
}

export interface LogTarget {
  /** Must a failure be alone in it? podman reads the whole file as one JSON object. */
  readonly isFile: boolean;
  /** @throws SyscallError; with no lines it only tries whether it could */
  write(lines: readonly LogLine[]): void;
}

/** For a daemon of the log to make room in its queue. */
const PATIENCE_S = 1;

const SOCKETS = { journal: "/run/systemd/journal/socket", syslog: "/dev/log" };

/** @param where `[file:]PATH`, `journald:IDENTIFIER` or `syslog:IDENTIFIER`; without an identifier it is "tsrun" */
export function logTarget(where: string, format: LogFormat, sockets = SOCKETS): LogTarget {
  const journal = identifierOf(where, "journald:");
  if (journal !== undefined) {
    return socketTarget(sockets.journal, (line) => journalEntry(journal, line), "is systemd-journald running?");
  }
  const syslog = identifierOf(where, "syslog:");
  if (syslog !== undefined) {
    return socketTarget(sockets.syslog, (line) => syslogLine(syslog, line), "does a daemon of the system log run?");
  }
  const path = where.startsWith("file:") ? where.slice(5) : where;
  return {
    isFile: true,
    write: (lines) => appendLog(path, lines.map((line) => formatted(format, line)).join("")),
  };
}

/** As files and standard error have it. */
export function formatted(format: LogFormat, { level, message, time }: LogLine): string {
  return `${formatLine(format, level, message, logTime(time))}\n`;
}

function identifierOf(where: string, prefix: string): string | undefined {
  return where.startsWith(prefix) ? escapeControl(where.slice(prefix.length)) || "tsrun" : undefined;
}

/** The file is open only while it is written: a descriptor held open could be one that --preserve-fds passes on. */
function appendLog(path: string, text: string): void {
  try {
    appendFileSync(path, text, { mode: 0o644 });
  } catch (error) {
    throw new SyscallError("write the log", (error as { code?: string }).code ?? "EIO", { path });
  }
}

/** One message a line; the socket is open no longer than the file would be. */
function socketTarget(path: string, encode: (line: LogLine) => string, question: string): LogTarget {
  // A daemon that does not read keeps us waiting, and once is enough.
  let stuck: SyscallError | undefined;
  return {
    isFile: false,
    write: (lines) => {
      if (stuck !== undefined) throw stuck;
      let socket: number | undefined;
      try {
        socket = unixConnect(path, SOCK_DGRAM, PATIENCE_S);
        for (const line of lines) sendMsg(socket, encode(line), [], path);
      } catch (error) {
        const fix = `${question} --log file:PATH needs none`;
        const isStuck = isErrno(error, "EAGAIN");
        const failure = new SyscallError("write the log to", codeOf(error), {
          path,
          ...((isStuck || isMissing(error)) && { fix }),
        });
        if (isStuck) stuck = failure;
        throw failure;
      } finally {
        if (socket !== undefined) closeQuiet(socket);
      }
    },
  };
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "EIO";
}

function isMissing(error: unknown): boolean {
  return isErrno(error, "ENOENT", "ECONNREFUSED");
}

/** syslog(3). */
const PRIORITIES: Readonly<Record<Level, number>> = { error: 3, warning: 4, info: 6, debug: 7 };
const LOG_USER = 8;
/** Well below what a datagram may hold: an error that lists a thousand problems goes cut, not unsaid. */
const MAX_MESSAGE = 32_768;

/** Fields, one a line; ID is that of crun. A message has no newline, as control characters are escaped. */
export function journalEntry(identifier: string, { level, message }: LogLine): string {
  const text = escapeControl(message).slice(0, MAX_MESSAGE);
  return `MESSAGE=${text}\nPRIORITY=${PRIORITIES[level]}\nSYSLOG_IDENTIFIER=${identifier}\nID=${identifier}\n`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `<11>Jan  2 03:04:05 web[7]: message`, in local time. */
export function syslogLine(identifier: string, { level, message, time }: LogLine, pid = process.pid): string {
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${MONTHS[time.getMonth()]} ${String(time.getDate()).padStart(2, " ")}`;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
  const text = escapeControl(message).slice(0, MAX_MESSAGE);
  return `<${LOG_USER + PRIORITIES[level]}>${day} ${clock} ${identifier}[${pid}]: ${text}`;
}
