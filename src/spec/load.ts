/**
 * Reads config.json, and process.json for exec. The only file of spec/ that touches the disk.
 * What it returns is JSON of the right kind and no more: validate() looks at the content.
 */
import { SpecError } from "../errors.ts";
import { resolve } from "../path.ts";
import { utf8Text } from "../sys/call.ts";
import { O_NOCTTY, O_NONBLOCK, O_RDONLY, POLLIN } from "../sys/constants.ts";
import { closeQuiet, open, read } from "../sys/file.ts";
import { fstatSync } from "../sys/fs.ts";
import { pollFd } from "../sys/process.ts";
import { jsonErrorOffset, stringEnd } from "./json-error.ts";
import type { Process, Spec } from "./types.ts";

/** Twice what all of the environment, every list and every text of a real config could come to, and read in seconds. */
const MAX_BYTES = 16 * 1024 * 1024;
const PIPE_TIMEOUT_MS = 5000;
const STDIN = 0;

export interface LoadedSpec {
  spec: Spec;
  /** The file as it was read. */
  text: string;
}

/**
 * Reads `<bundleDir>/config.json`, or `configFile` (relative to the bundle) in its place.
 *
 * @param maxBytes for a copy that is our own, which may have grown since
 * @throws SpecError when there is no such file, or it holds no JSON object; with line and column
 */
export function loadSpec(bundleDir: string, configFile?: string | undefined, maxBytes = MAX_BYTES): LoadedSpec {
  const path = resolve(bundleDir, configFile ?? "config.json");
  const text = readFile(
    path,
    maxBytes,
    "name the bundle directory with -b, or write a config there: tsrun spec -b DIR",
  );
  return { spec: parseSpec(text, path), text };
}

/** The spec in a text. `name` stands in errors. @throws SpecError */
export function parseSpec(text: string, name = "config.json"): Spec {
  const spec = parseObject(text, name) as unknown as Spec;
  if (member(member(spec, "linux"), "seccomp") !== undefined && /\d{16}/.test(text)) keepBigArguments(spec, text);
  return spec;
}

/** The text of a spec from which parseSpec makes it again. */
export function specText(spec: Spec): string {
  // No text of a valid spec has a NUL, so that these are the marked numbers.
  const text = JSON.stringify(spec, (_, value) => (typeof value === "bigint" ? `\0${value}` : value));
  return text.replace(/"\\u0000(\d+)"/g, "$1");
}

/** Reads the process.json that callers hand to exec. @throws SpecError */
export function loadProcess(path: string): Process {
  return parseObject(readFile(path), path) as unknown as Process;
}

/** Reads the JSON object of a file, or of standard input: "-". @throws SpecError */
export function loadObject(file: string): Record<string, unknown> {
  const { text, name } = readNamed(file);
  return parseObject(text, name);
}

/** As loadObject, a list. @throws SpecError */
export function loadList(file: string): unknown[] {
  const { text, name } = readNamed(file);
  return parseList(text, name);
}

/**
 * Parses any JSON object of a caller (process.json, resources for update). Members that are null are left out, as Go
 * callers write null for "not there".
 *
 * @throws SpecError with line and column
 */
export function parseObject(text: string, name: string): Record<string, unknown> {
  const value = parseJson(text, name);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SpecError([{ path: name, message: "must hold a JSON object" }]);
  }
  return (text.includes("null") ? withoutNulls(value) : value) as Record<string, unknown>;
}

/** As parseObject, of a list. @throws SpecError */
export function parseList(text: string, name: string): unknown[] {
  const value = parseJson(text, name);
  if (!Array.isArray(value)) throw new SpecError([{ path: name, message: "must hold a JSON list" }]);
  return withoutNulls(value) as unknown[];
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SpecError([{ path: name, message: jsonProblem(text) }]);
  }
}

/** Maps whose members are objects: one that is null is an empty object to Go, as its name says something. */
const MAPS_OF_OBJECTS = ["netdevices", "rdma"];

/** A copy without the members that are null; lists keep theirs. */
function withoutNulls(value: unknown, name = ""): unknown {
  if (Array.isArray(value)) return value.map((element) => withoutNulls(element));
  if (typeof value !== "object" || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    if (member === null && !MAPS_OF_OBJECTS.includes(name.toLowerCase())) continue;
    Object.defineProperty(copy, key, {
      value: member === null ? {} : withoutNulls(member, key),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return copy;
}

function readNamed(file: string): { text: string; name: string } {
  if (file !== "-") return { text: readFile(resolve(file)), name: file };
  const name = "standard input";
  return { text: readToEnd(STDIN, name, MAX_BYTES), name };
}

function readFile(path: string, maxBytes = MAX_BYTES, fixIfMissing?: string): string {
  let fd: number;
  try {
    // O_NONBLOCK: a fifo in the place of the file must not hold us up.
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  } catch (error) {
    throw unreadable(path, (error as { code?: string }).code ?? String(error), fixIfMissing);
  }
  try {
    const status = fstatSync(fd);
    // What a shell hands over as <(...): until its writer is done, and no longer than a person would wait.
    if (status.isFIFO() && /^\/(dev\/stdin|(dev|proc\/self)\/fd\/\d+)$/.test(path)) {
      return readToEnd(fd, path, maxBytes, PIPE_TIMEOUT_MS);
    }
    if (!status.isFile()) throw new SpecError([{ path, message: "is no regular file" }]);
    if (status.size > maxBytes) throw tooLarge(path, maxBytes);
    return readToEnd(fd, path, maxBytes);
  } catch (error) {
    if (error instanceof SpecError) throw error;
    throw unreadable(path, (error as { code?: string }).code ?? String(error));
  } finally {
    closeQuiet(fd);
  }
}

function readToEnd(fd: number, path: string, maxBytes: number, timeoutMs?: number): string {
  const end = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  let bytes = new Uint8Array(65536);
  for (let length = 0; length <= maxBytes; ) {
    if (end !== undefined && pollFd(fd, POLLIN, Math.max(end - performance.now(), 0)) === 0) {
      throw new SpecError([{ path, message: `is a pipe, and has not ended after ${PIPE_TIMEOUT_MS / 1000} s` }]);
    }
    const count = read(fd, bytes.subarray(length), path);
    if (count === 0) return utf8Text(bytes.subarray(0, length));
    length += count;
    if (length < bytes.length) continue;
    const larger = new Uint8Array(bytes.length * 4);
    larger.set(bytes);
    bytes = larger;
  }
  throw tooLarge(path, maxBytes);
}

function tooLarge(path: string, maxBytes: number): SpecError {
  return new SpecError([{ path, message: `is larger than ${maxBytes / 1024 / 1024} MiB` }]);
}

/** Callers take "no such file" for a missing command of the container (exit code 127), so this says it in other words. */
function unreadable(path: string, code: string, fixIfMissing?: string): SpecError {
  const isMissing = code === "ENOENT" || code === "ENOTDIR";
  const message = `JSON specification file ${path} ${isMissing ? "not found" : `cannot be read: ${code}`}`;
  return new SpecError([{ path: "", message }], isMissing && fixIfMissing !== undefined ? { fix: fixIfMissing } : {});
}

function jsonProblem(text: string): string {
  if (text.trim() === "") return "is empty";
  const offset = jsonErrorOffset(text);
  // It is JSON, and the engine ran out of stack: not every engine says so by a RangeError.
  if (offset === undefined) return "is nested too deeply";
  let line = 1;
  let lineStart = 0;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) {
    line++;
    lineStart = at + 1;
  }
  const place = `line ${line}, column ${offset - lineStart + 1}`;
  if (offset >= text.length) return `is not JSON: it ends too early (${place})`;
  return `is not JSON: unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(offset) ?? 0))} at ${place}`;
}

/**
 * Seccomp compares arguments bit by bit, so the ones that JSON.parse rounded are read again, exactly. Parses once more
 * with the long numbers as strings; only a config with such numbers pays.
 */
function keepBigArguments(spec: Spec, text: string): void {
  const exact: unknown = JSON.parse(withNumbersAsText(text));
  const syscallsOf = (value: unknown) => listOf(member(member(value, "linux"), "seccomp"), "syscalls");
  const sources = syscallsOf(exact);
  for (const [i, syscall] of syscallsOf(spec).entries()) {
    const exactArgs = listOf(sources[i], "args");
    for (const [j, arg] of listOf(syscall, "args").entries()) {
      if (typeof arg !== "object" || arg === null) continue;
      for (const key of Object.keys(arg).filter((name) => /^value(two)?$/i.test(name))) {
        const source = (exactArgs[j] as Record<string, unknown>)[key];
        if (typeof arg[key] === "number" && typeof source === "string") arg[key] = BigInt(source);
      }
    }
  }
}

/** The same JSON, in which every whole number of 16 digits or more is a string. */
function withNumbersAsText(text: string): string {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    const quote = text.indexOf('"', at);
    const between = text.slice(at, quote < 0 ? text.length : quote);
    parts.push(between.replace(/-?\d[\d.eE+-]*/g, (token) => (/^-?\d{16,}$/.test(token) ? `"${token}"` : token)));
    if (quote < 0) break;
    at = stringEnd(text, quote);
    parts.push(text.slice(quote, at));
  }
  return parts.join("");
}

function listOf(value: unknown, name: string): Record<string, unknown>[] {
  const list = member(value, name);
  return Array.isArray(list) ? list : [];
}

/** A member of what may be anything, whatever the case of its name. */
function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const exact = (value as Record<string, unknown>)[name];
  if (exact !== undefined) return exact;
  const lower = name.toLowerCase();
  const key = Object.keys(value).find((key) => key.toLowerCase() === lower);
  return key === undefined ? undefined : (value as Record<string, unknown>)[key];
}
