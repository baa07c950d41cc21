/**
 * The errors of tsrun and the layout of their messages: the operation, the path, the errno and,
 * where one is known, the fix. Each level adds what it alone knows; the rest is `cause`.
 */
import { errnoText } from "./errno.ts";

export interface ErrorDetail {
  path?: string;
  fix?: string;
  cause?: unknown;
}

/** Anything tsrun says to its caller. `fix` is a sentence about what to do, when one is known. */
export class TsrunError extends Error {
  readonly fix: string | undefined;
  constructor(message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = new.target.name;
    this.fix = detail.fix;
  }
}

/** An error and its causes, in one line: for a warning, as an error that is thrown is put into words by who catches it. */
export function inFull(error: unknown): string {
  const messages: string[] = [];
  for (let level = error; level !== undefined; level = level instanceof Error ? level.cause : undefined) {
    const message = level instanceof Error ? level.message : String(level);
    // A level that already quotes its cause says it once.
    if (message !== "" && !messages.some((upper) => upper.includes(message))) messages.push(message);
  }
  return messages.join(": ");
}

/** One thing wrong with a config.json: where (`mounts[3].options[1]`), what, and what was perhaps meant. */
export interface Problem {
  path: string;
  message: string;
}

/** All problems of a config at once, or of what else is written as parts of one are. */
export class SpecError extends TsrunError {
  readonly problems: readonly Problem[];
  /** What has them: "config.json", or a file that stands for a part of it. */
  readonly of: string;
  constructor(problems: readonly Problem[], detail: ErrorDetail & { of?: string } = {}) {
    super(problems.map((p) => (p.path === "" ? p.message : `${p.path}: ${p.message}`)).join("; "), detail);
    this.problems = problems;
    this.of = detail.of ?? "config.json";
  }
}

/** A system call that failed: `operation path: ERRNO (text)`. */
export class SyscallError extends TsrunError {
  readonly code: string;
  readonly operation: string;
  readonly path: string | undefined;
  constructor(operation: string, code: string, detail: ErrorDetail = {}) {
    super(`${operation}${detail.path === undefined ? "" : ` ${detail.path}`}: ${code} (${errnoText(code)})`, detail);
    this.operation = operation;
    this.code = code;
    this.path = detail.path;
  }
}

/** A step of the plan that the native init could not carry out. */
export class StepError extends TsrunError {
  readonly code: string;
  /** Index of the step in the plan. */
  readonly step: number;
  constructor(message: string, step: number, code: string, detail: ErrorDetail = {}) {
    super(message, detail);
    this.step = step;
    this.code = code;
  }
}

/** The container is not in a state, or not there, for what was asked. */
export class StateError extends TsrunError {}

/** Does this error carry one of these errno names? Works for SyscallError, StepError and Node's own errors. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && codes.includes((error as { code?: string }).code ?? "");
}
