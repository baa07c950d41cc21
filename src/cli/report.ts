/**
 * Errors as a reader sees them: the chain of causes on one line, what to do about it on the next ones.
 * On standard error for people; in the log file as the single line that engines parse.
 */
import { errnoText } from "../errno.ts";
import { SpecError, SyscallError, TsrunError } from "../errors.ts";
import { escapeControl, formatLine, type Level, type LogFormat, logTime, setLogSink } from "../log.ts";
import { appendFileSync } from "../sys/fs.ts";
import type { GlobalValues } from "./globals.ts";
import { writeError } from "./output.ts";
import { UsageError } from "./parse.ts";
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
    if (level instanceof TsrunError && level.fix !== undefined && !fixes.includes(level.fix)) fixes.push(level.fix);
    if (level instanceof UsageError && level.suggest !== undefined) {
      const meant = nearest(level.suggest.word, level.suggest.among);
      if (meant !== undefined) fixes.push(`did you mean ${meant}?`);
    }
    // A level that already quotes its cause says it once.
    if (message !== "" && !full.some((upper) => upper.includes(message))) {
      full.push(message);
      if (level instanceof SpecError && level.problems.length > 1) {
        short.push(`config.json has ${level.problems.length} problems`);
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
  return `internal error: ${error.message === "" ? error.name : error.message}; please report it`;
}

/** For people: the error, its problems and its fixes, on lines of their own. */
export function humanError(description: Description): string {
  const lines = [
    `tsrun: ${escapeControl(description.headline)}`,
    ...description.problems.map((problem) => `  ${escapeControl(problem)}`),
    ...description.fixes.map((fix) => `  fix: ${escapeControl(fix)}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Where lines and errors go, as the global flags say. */
export interface LogTarget {
  file: string | undefined;
  format: LogFormat;
}

let target: LogTarget = { file: undefined, format: "text" };

/**
 * Follows --log, --log-format, --log-level and --debug.
 *
 * @throws SyscallError when the log file cannot be opened
 */
export function setUpLog(values: GlobalValues): void {
  target = { file: undefined, format: values["log-format"] === "json" ? "json" : "text" };
  const level = values["log-level"];
  const debugging = values.debug === true || level === "debug";
  const held: string[] = [];
  const write = (lineLevel: Level, message: string): void => {
    if (level === "error" && lineLevel === "warning") return;
    const line = `${formatLine(target.format, lineLevel, message, logTime())}\n`;
    if (target.file === undefined) {
      writeError(
        target.format === "text" && lineLevel === "warning" ? `tsrun: warning: ${escapeControl(message)}\n` : line,
      );
    } else if (lineLevel === "warning" && !debugging) {
      // podman reads the whole file as one JSON object: a failure must be alone in it.
      held.push(line);
    } else {
      appendLog(target.file, line);
    }
  };
  const flush = (): void => {
    if (target.file !== undefined && held.length > 0) appendLog(target.file, held.splice(0).join(""));
  };
  setLogSink({ write, flush }, debugging);
  if (values.log !== undefined && values.log !== "") {
    appendLog(values.log, "");
    target.file = values.log;
  }
}

/** Tells about an error, once: in the log file, if there is one, and on standard error. */
export function printError(error: unknown, context?: Context): void {
  const description = describeError(error, context);
  const line = (format: LogFormat): string => `${formatLine(format, "error", description.line, logTime())}\n`;
  if (target.file !== undefined) {
    try {
      appendLog(target.file, line(target.format));
    } catch (failure) {
      writeError(humanError(describeError(failure)));
    }
  } else if (target.format === "json") {
    writeError(line("json"));
    return;
  }
  writeError(humanError(description));
}

/** The file is open only while it is written: a descriptor held open could be one that --preserve-fds passes on. */
function appendLog(path: string, text: string): void {
  try {
    appendFileSync(path, text, { mode: 0o644 });
  } catch (error) {
    throw new SyscallError("write the log", (error as { code?: string }).code ?? "EIO", { path });
  }
}
