/**
 * Errors as a reader sees them: the chain of causes on one line, what to do about it on the next ones.
 * On standard error for people; in the log file as the single line that engines parse.
 */
import { errnoText } from "../errno.ts";
import { isErrno, SpecError, TsrunError } from "../errors.ts";
import { escapeControl, type Level, type LogFormat, setLogSink } from "../log.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import type { GlobalValues } from "./globals.ts";
import { formatted, type LogLine, type LogTarget, logTarget } from "./log-target.ts";
import { writeError } from "./output.ts";
import { UsageError } from "./parse.ts";
import { asCalled, programName } from "./program-name.ts";
import { nearest } from "./suggest.ts";

export interface Description {
  /** The chain of causes, joined by ": ". */
  headline: string;
  /** The problems of a config, when there are several. */
  problems: string[];
  fixes: string[];
  /** Everything on one line. */
  line: string;
}

/** What was being done, and to which container or bundle. */
export interface Context {
  verb: string;
  subject: string;
}

/** Puts an error and its causes into words. Nothing of it shows where in the source it was thrown. */
export function describeError(error: unknown, context?: Context): Description {
  const short: string[] = [];
  const full: string[] = [];
  const problems: string[] = [];
  const fixes: string[] = [];
  const seen = new Set<unknown>();
  let level = error;
  do {
    seen.add(level);
    const message = messageOf(level);
    const fix = level instanceof UsageError && level.fix !== undefined ? asCalled(level.fix) : undefined;
    const advice = fix ?? (level instanceof TsrunError ? level.fix : undefined);
    if (advice !== undefined && !fixes.includes(advice)) fixes.push(advice);
    if (level instanceof UsageError && level.suggest !== undefined) {
      const meant = nearest(level.suggest.word, level.suggest.among);
      if (meant !== undefined) fixes.push(`did you mean ${meant}?`);
    }
    // A level that already quotes its cause says it once.
    if (message !== "" && !full.some((upper) => upper.includes(message))) {
      full.push(message);
      if (level instanceof SpecError && level.problems.length > 1) {
        short.push(`${level.of} has ${level.problems.length} problems`);
        for (const { path, message: text } of level.problems) problems.push(path === "" ? text : `${path}: ${text}`);
      } else {
        short.push(message);
      }
    }
    level = level instanceof Error ? level.cause : undefined;
  } while (level !== undefined && !seen.has(level));
  if (context !== undefined && !full.some((message) => message.split(/[\s:,"]+/).includes(context.subject))) {
    const prefix = `${context.verb} ${context.subject}`;
    short.unshift(prefix);
    full.unshift(prefix);
  }
  const line = full.join(": ") + (fixes.length > 0 ? ` (fix: ${fixes.join("; ")})` : "");
  return { headline: short.join(": "), problems, fixes, line };
}

function messageOf(error: unknown): string {
  if (error instanceof TsrunError) return error.message;
  if (!(error instanceof Error)) return `internal error: ${String(error)}; please report it`;
  const { code, syscall, path } = error as { code?: unknown; syscall?: unknown; path?: unknown };
  // What node:fs throws, said as we say it elsewhere.
  if (typeof code === "string" && typeof syscall === "string") {
    return `${syscall}${typeof path === "string" ? ` ${path}` : ""}: ${code} (${errnoText(code)})`;
  }
  // What QuickJS throws when the kernel gives it no more.
  if (error.message === "out of memory") return `ENOMEM (${errnoText("ENOMEM")})`;
  return `internal error: ${error.message === "" ? error.name : error.message}; please report it`;
}

/** For people: the error, its problems and its fixes, on lines of their own. */
export function humanError(description: Description): string {
  const lines = [
    `${programName()}: ${escapeControl(description.headline)}`,
    ...description.problems.map((problem) => `  ${escapeControl(problem)}`),
    ...description.fixes.map((fix) => `  fix: ${escapeControl(fix)}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Where lines and errors go, as the global flags say: without a target to standard error. */
let target: LogTarget | undefined;
let format: LogFormat = "text";
/** Was it said that the log cannot be written? */
let isLogLost = false;

/**
 * Follows --log, --systemd-log, --log-format, --log-level and --debug.
 *
 * @throws SyscallError when the log cannot be written
 */
export function setUpLog(values: GlobalValues): void {
  target = undefined;
  isLogLost = false;
  format = values["log-format"] === "json" ? "json" : "text";
  const level = values["log-level"];
  const debugging = values.debug === true || level === "debug";
  const held: LogLine[] = [];
  const write = (lineLevel: Level, message: string): void => {
    if (level === "error" && lineLevel === "warning") return;
    const line = { level: lineLevel, message, time: new Date() };
    if (target === undefined) {
      const isForPeople = format === "text" && lineLevel === "warning";
      writeError(isForPeople ? `${programName()}: warning: ${escapeControl(message)}\n` : formatted(format, line));
    } else if (target.isFile && lineLevel === "warning" && !debugging) {
      held.push(line);
    } else {
      writeLog(target, [line]);
    }
  };
  const flush = (): void => {
    if (target !== undefined && held.length > 0) writeLog(target, held.splice(0));
  };
  setLogSink({ write, flush }, debugging);
  const where = values.log || (values["systemd-log"] ? "journald:" : "");
  if (where === "") return;
  const opened = logTarget(where, format);
  try {
    opened.write([]);
  } catch (error) {
    // Who has lost his disk, or whose daemon of the log is just being restarted (ECONNREFUSED), must be able to end his
    // containers all the same.
    if (!isErrno(error, "EROFS", "ENOSPC", "EDQUOT", "EIO", "ECONNREFUSED")) throw error;
    tellOfLog(error);
  }
  target = opened;
}

/** What is under way goes on without its log: it may have succeeded already. */
function writeLog(where: LogTarget, lines: readonly LogLine[]): void {
  try {
    where.write(lines);
  } catch (error) {
    tellOfLog(error);
    writeError(lines.map((line) => formatted(format, line)).join(""));
  }
}

function tellOfLog(failure: unknown): void {
  if (!isLogLost) writeError(humanError(describeError(failure)));
  isLogLost = true;
}

/**
 * In a container it is often its filter or its AppArmor profile that forbids something, and the errno does not tell. Said
 * when nothing better is known.
 */
function withConfinementFix(description: Description): Description {
  const code = /\b(EPERM|ENOSYS|EACCES)\b/.exec(description.line)?.[1];
  if (description.fixes.length > 0 || code === undefined) return description;
  const profile = code === "ENOSYS" ? undefined : apparmorProfile();
  const under = [
    ...(code !== "EACCES" && isFiltered() ? ["a seccomp filter, as in most containers"] : []),
    ...(profile === undefined ? [] : [`the AppArmor profile ${profile}`]),
  ];
  if (under.length === 0) return description;
  const fix = `this process is under ${under.join(", and ")}, which may forbid this call`;
  return { ...description, fixes: [fix], line: `${description.line} (fix: ${fix})` };
}

/** What is missing below /proc is mostly all of it. Said when nothing better is known. */
function withProcFix(description: Description): Description {
  if (description.fixes.length > 0 || !/\/proc\/.*\bENOENT\b/.test(description.line) || existsSync("/proc/self")) {
    return description;
  }
  const fix = "procfs is not mounted at /proc: mount -t proc proc /proc";
  return { ...description, fixes: [fix], line: `${description.line} (fix: ${fix})` };
}

/** apparmor(7): "NAME (enforce)"; one that complains only forbids nothing. */
function apparmorProfile(): string | undefined {
  try {
    return /^(.+) \(enforce\)$/.exec(readFileSync("/proc/self/attr/apparmor/current").trim())?.[1];
  } catch {
    // Another module than AppArmor, or a /proc that is hidden.
    return undefined;
  }
}

/** proc_pid_status(5): mode 2 is a filter. */
function isFiltered(): boolean {
  try {
    return /^Seccomp:\t2$/m.test(readFileSync("/proc/self/status"));
  } catch {
    return false;
  }
}

/** Tells about an error, once: in the log, if there is one, and on standard error. */
export function printError(error: unknown, context?: Context): void {
  const description = withProcFix(withConfinementFix(describeError(error, context)));
  const line: LogLine = { level: "error", message: description.line, time: new Date() };
  if (target !== undefined) {
    try {
      target.write([line]);
    } catch (failure) {
      tellOfLog(failure);
    }
  } else if (format === "json") {
    writeError(formatted("json", line));
    return;
  }
  writeError(humanError(description));
}
