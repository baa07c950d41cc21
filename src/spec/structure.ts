/**
 * The structural half of validation: a small language for the shape of a JSON value, and two walks over it.
 *
 * `fits` says yes or no and nothing else; it is all that a good config costs. `explain` runs when it said no: it names
 * every misfit with its path, and returns what is left when the misfits are taken out, so that the rules about content
 * can still be asked. What is left has the names of the spec: a member that differs from one of them in case only is
 * that one, as it is to programs written in Go, which would otherwise see a profile or a limit where we see none.
 */
import { didYouMean, joinPath, quote } from "./text.ts";

export type Shape = Scalar | ListShape | MapShape | ObjectShape | WordShape;

/** What a value without parts may be. The numbers are arbitrary; they make `fits` a switch. */
export const S = {
  boolean: 1,
  /** Without NUL, up to 1 MiB. */
  text: 2,
  /** Text as execve(2) and mount(2) take it: up to 128 KiB with its end. */
  argument: 3,
  /** Text of up to PATH_MAX with its end. */
  path: 4,
  int32: 5,
  uint16: 6,
  uint32: 7,
  int64: 8,
  uint64: 9,
  /** A user or group: uint32, but 2^32-1 is "none" to the kernel. */
  id: 10,
} as const;

export type Scalar = (typeof S)[keyof typeof S];

export interface ListShape {
  readonly list: Shape;
  /** What the kernel takes of these, or what can be done in seconds; MAX_LIST otherwise. */
  readonly max?: number;
}

/** An object whose keys are data. */
export interface MapShape {
  readonly map: Shape;
}

export interface ObjectShape {
  /** Made without prototype (`__proto__: null`): a config may have a member "constructor". Other members are ignored. */
  readonly members: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
}

/** One of a few words. */
export interface WordShape {
  readonly words: readonly string[];
}

/** More than any real config has, and few enough to stay bounded. */
const MAX_LIST = 100_000;

const MAX_TEXT = 1024 * 1024;
/** MAX_ARG_STRLEN of the kernel without the NUL at the end. */
const MAX_ARGUMENT = 128 * 1024 - 1;
/** PATH_MAX without the NUL at the end. */
const MAX_PATH = 4095;

/** Has the value this shape, with no member null and each under the name that the spec gives it? */
export function fits(shape: Shape, value: unknown): boolean {
  if (typeof shape === "number") return fitsScalar(shape, value);
  if ("words" in shape) return shape.words.includes(value as string);
  if ("list" in shape) {
    if (!Array.isArray(value) || value.length > (shape.max ?? MAX_LIST)) return false;
    // Indices, as iterators are slow in code that runs once.
    for (let i = 0; i < value.length; i++) if (!fits(shape.list, value[i])) return false;
    return true;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return "map" in shape ? fitsMap(shape, value) : fitsObject(shape, value as Record<string, unknown>);
}

function fitsMap(shape: MapShape, value: object): boolean {
  const keys = Object.keys(value);
  if (keys.length > MAX_LIST) return false;
  for (const key of keys) {
    if (!fitsScalar(S.argument, key) || !fits(shape.map, (value as Record<string, unknown>)[key])) return false;
  }
  return true;
}

function fitsObject(shape: ObjectShape, value: Record<string, unknown>): boolean {
  const { members, required } = shape;
  for (const key of Object.keys(value)) {
    const member = members[key];
    if (member === undefined) {
      if (nameInSpec(members, key) !== undefined) return false;
    } else if (value[key] !== undefined && !fits(member, value[key])) return false;
  }
  if (required !== undefined) for (const key of required) if (value[key] === undefined) return false;
  return true;
}

/** The member that a name means though its letters have another case. */
function nameInSpec(members: ObjectShape["members"], key: string): string | undefined {
  const lower = key.toLowerCase();
  for (const name in members) if (name.length === key.length && name.toLowerCase() === lower) return name;
  return undefined;
}

function fitsScalar(shape: Scalar, value: unknown): boolean {
  switch (shape) {
    case S.boolean:
      return typeof value === "boolean";
    case S.text:
      return isText(value, MAX_TEXT);
    case S.argument:
      return isText(value, MAX_ARGUMENT);
    case S.path:
      return isText(value, MAX_PATH);
    case S.int32:
      return isInteger(value, -(2 ** 31), 2 ** 31 - 1);
    case S.uint16:
      return isInteger(value, 0, 0xffff);
    case S.uint32:
      return isInteger(value, 0, 0xffff_ffff);
    case S.id:
      return isInteger(value, 0, 0xffff_fffe);
    // JSON.parse rounds the largest int64 and uint64 up to the next power of two.
    case S.int64:
      return isInteger(value, -(2 ** 63), 2 ** 63);
    case S.uint64:
      return isInteger(value, 0, 2 ** 64);
  }
}

function isText(value: unknown, max: number): boolean {
  return typeof value === "string" && value.length <= max && !value.includes("\0");
}

function isInteger(value: unknown, min: number, max: number): boolean {
  if (typeof value === "number") return Number.isInteger(value) && value >= min && value <= max;
  return typeof value === "bigint" && value >= min && value <= max;
}

/** Takes a problem; the message is made only when there is room for it. */
export type Report = (path: string, message: () => string) => void;

/**
 * Reports every misfit and returns the value without it: a member that does not fit is left out, an element gives way
 * to an empty one, so that the places of the others stay. A member that is null counts as not there, and an object of a
 * map as an empty one: that is how Go callers write it. Undefined: nothing is left.
 */
export function explain(shape: Shape, value: unknown, path: string, report: Report): unknown {
  if (fits(shape, value)) return value;
  if (typeof shape === "number" || "words" in shape) {
    report(path, () => (typeof shape === "number" ? scalarMisfit(shape, value) : wordMisfit(shape, value)));
    return undefined;
  }
  if ("list" in shape) return explainList(shape, value, path, report);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    report(path, () => `must be an object, not ${kind(value)}`);
    return undefined;
  }
  return "map" in shape ? explainMap(shape, value, path, report) : explainObject(shape, value, path, report);
}

function explainList(shape: ListShape, value: unknown, path: string, report: Report): unknown {
  if (!Array.isArray(value)) {
    report(path, () => `must be a list, not ${kind(value)}`);
    return undefined;
  }
  const { max = MAX_LIST } = shape;
  if (value.length > max) {
    report(path, () => `has ${value.length} elements, more than ${max}`);
    return undefined;
  }
  // Array.from, as map() passes over the holes of an array that no JSON has.
  return Array.from(
    value,
    (element, i) => explain(shape.list, element, `${path}[${i}]`, report) ?? nothingOf(shape.list),
  );
}

function explainMap(shape: MapShape, value: object, path: string, report: Report): unknown {
  const entries = Object.entries(value);
  if (entries.length > MAX_LIST) {
    report(path, () => `has ${entries.length} members, more than ${MAX_LIST}`);
    return undefined;
  }
  const kept: [string, unknown][] = [];
  for (const [key, value] of entries) {
    // Its name says something, as in netDevices: to Go it is an empty object.
    const member = value === null && typeof shape.map === "object" && "members" in shape.map ? {} : value;
    if (member === null || member === undefined) continue;
    const at = joinPath(path, key);
    if (!fits(S.argument, key)) {
      report(at, () => `the name ${scalarMisfit(S.argument, key)}`);
      continue;
    }
    const left = explain(shape.map, member, at, report);
    if (left !== undefined) kept.push([key, left]);
  }
  // Object.fromEntries makes "__proto__" a member like any other.
  return Object.fromEntries(kept);
}

function explainObject(shape: ObjectShape, value: object, path: string, report: Report): unknown {
  const left: Record<string, unknown> = {};
  const found = membersInSpec(shape, value, path, report);
  for (const [name, { key, member }] of found) {
    const kept = explain(shape.members[name] as Shape, member, joinPath(path, key), report);
    if (kept !== undefined) left[name] = kept;
  }
  for (const key of shape.required ?? []) if (!found.has(key)) report(joinPath(path, key), () => "is missing");
  return left;
}

/** The members that are known and not null, by the name that the spec has for each. */
function membersInSpec(
  shape: ObjectShape,
  value: object,
  path: string,
  report: Report,
): Map<string, { key: string; member: unknown }> {
  const found = new Map<string, { key: string; member: unknown }>();
  for (const [key, member] of Object.entries(value)) {
    const name = shape.members[key] === undefined ? nameInSpec(shape.members, key) : key;
    if (name === undefined || member === null || member === undefined) continue;
    const other = found.get(name);
    const whole = other === undefined ? member : together(other.member, member);
    if (whole !== undefined) found.set(name, { key, member: whole });
    else report(joinPath(path, key), () => `is the same member as ${quote(other?.key ?? "")} beside it`);
  }
  return found;
}

/**
 * Two objects under names that mean one member, as Go puts them together. Undefined when they are none, or have a member
 * in common: Go takes the later one then, and who else reads the config perhaps the other.
 */
function together(a: unknown, b: unknown): unknown {
  for (const value of [a, b]) if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.keys(b as object).some((key) => Object.hasOwn(a as object, key))
    ? undefined
    : { ...(a as object), ...(b as object) };
}

/** A value that fits, without the members that its shape does not have. */
export function knownMembers(shape: Shape, value: unknown): unknown {
  if (typeof shape === "number" || "words" in shape || typeof value !== "object" || value === null) return value;
  if ("list" in shape) return (value as unknown[]).map((element) => knownMembers(shape.list, element));
  const entries = Object.entries(value).flatMap(([key, member]) => {
    const known = "map" in shape ? shape.map : shape.members[key];
    return known === undefined ? [] : [[key, knownMembers(known, member)] as const];
  });
  return Object.fromEntries(entries);
}

/** Looks at every member that no object of its shape has: its path, its name, and the names it may have been meant to be. */
export function unknownMembers(
  shape: Shape,
  value: unknown,
  path: string,
  look: (path: string, name: string, known: readonly string[]) => void,
): void {
  if (typeof shape === "number" || "words" in shape || typeof value !== "object" || value === null) return;
  if ("list" in shape) {
    if (!Array.isArray(value)) return;
    for (const [i, element] of value.entries()) unknownMembers(shape.list, element, `${path}[${i}]`, look);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    const known = "map" in shape ? shape.map : shape.members[nameInSpec(shape.members, key) ?? key];
    if (known !== undefined) unknownMembers(known, member, joinPath(path, key), look);
    else if ("members" in shape) look(joinPath(path, key), key, Object.keys(shape.members));
  }
}

function nothingOf(shape: Shape): unknown {
  if (typeof shape === "number") return shape === S.boolean ? false : shape <= S.path ? "" : 0;
  if ("words" in shape) return "";
  return "list" in shape ? [] : {};
}

function wordMisfit(shape: WordShape, value: unknown): string {
  if (typeof value !== "string") return `must be one of ${shape.words.map(quote).join(", ")}, not ${kind(value)}`;
  return `unknown value ${quote(value)}${didYouMean(value, shape.words) || `, known are ${listed(shape.words)}`}`;
}

function listed(words: readonly string[]): string {
  return words.map(quote).join(", ");
}

const RANGES: Readonly<Record<number, string>> = {
  [S.int32]: "-2147483648 to 2147483647",
  [S.uint16]: "0 to 65535",
  [S.uint32]: "0 to 4294967295",
  [S.id]: "0 to 4294967294",
  [S.int64]: "-9223372036854775808 to 9223372036854775807",
  [S.uint64]: "0 to 18446744073709551615",
};

function scalarMisfit(shape: Scalar, value: unknown): string {
  if (shape === S.boolean) return `must be true or false, not ${kind(value)}`;
  const range = RANGES[shape];
  if (range !== undefined) {
    if (typeof value !== "number" && typeof value !== "bigint") return `must be a number, not ${kind(value)}`;
    if (typeof value === "number" && !Number.isInteger(value)) return `must be a whole number, not ${value}`;
    return `${value} is out of range, ${range}`;
  }
  if (typeof value !== "string") return `must be a string, not ${kind(value)}`;
  if (value.includes("\0")) return `contains a NUL byte: ${quote(value)}`;
  const max = shape === S.path ? MAX_PATH : shape === S.argument ? MAX_ARGUMENT : MAX_TEXT;
  return `is ${value.length} characters long, more than ${max}`;
}

/** What a value is, in words, with the value itself when it is short. */
function kind(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") return `the string ${quote(value)}`;
  if (typeof value === "number" || typeof value === "bigint") return `the number ${value}`;
  return typeof value === "boolean" ? String(value) : `a ${typeof value}`;
}
