/** System calls that throw: names, paths and retries in one place, for the wrappers of sys/. */
import { errnoName } from "../errno.ts";
import { SyscallError } from "../errors.ts";
import { type NativeArg, syscall } from "./ffi.ts";

/** A path or a name as text, or as the bytes that the kernel gave us. */
export type PathArg = string | Uint8Array;

const EINTR = 4;

// Not Buffer: under Bun its first use costs 0.1 ms. A byte order mark is a character like any other.
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The result when it is none of -errno; throws otherwise. */
export function check(result: number, operation: string, path?: PathArg): number {
  if (result < 0) throw failure(operation, -result, path);
  return result;
}

export function failure(operation: string, errno: number, path?: PathArg, fix?: string, cause?: unknown): SyscallError {
  const detail: { path?: string; fix?: string; cause?: unknown } = {};
  if (path !== undefined) detail.path = pathText(path);
  if (fix !== undefined) detail.fix = fix;
  if (cause !== undefined) detail.cause = cause;
  return new SyscallError(operation, errnoName(errno), detail);
}

/** syscall(2), again as long as a signal interrupts it: the result, or -errno. */
export function retrying(
  number: number,
  a: NativeArg = 0,
  b: NativeArg = 0,
  c: NativeArg = 0,
  d: NativeArg = 0,
  e: NativeArg = 0,
  f: NativeArg = 0,
): number {
  let result: number;
  do result = syscall(number, a, b, c, d, e, f);
  while (result === -EINTR);
  return result;
}

/**
 * Text as a C string.
 *
 * @throws SyscallError EINVAL when it has a NUL byte: the kernel would see another, shorter path
 */
export function cString(text: PathArg, operation: string): Uint8Array {
  if (typeof text === "string") {
    if (text.includes("\0")) throw nulByte(operation, text);
    return encoder.encode(`${text}\0`);
  }
  if (text.includes(0)) throw nulByte(operation, pathText(text));
  const copy = new Uint8Array(text.length + 1);
  copy.set(text);
  return copy;
}

/** As cString; null for what is not given. */
export function optionalCString(text: PathArg | null | undefined, operation: string): Uint8Array | null {
  return text === null || text === undefined ? null : cString(text, operation);
}

function nulByte(operation: string, path: string): SyscallError {
  return new SyscallError(operation, "EINVAL", {
    path: path.replaceAll("\0", "\\0"),
    fix: "take the NUL byte out of the path",
  });
}

export function pathText(path: PathArg): string {
  return typeof path === "string" ? path : utf8Text(path);
}

export function utf8Bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

export function utf8Text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The bytes that a base64 text (RFC 4648, padded) stands for. */
export function base64Bytes(text: string): Uint8Array {
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array };
  if (fromBase64 !== undefined) return fromBase64(text);
  // Node 20 has Buffer alone, and the engine of dist/tsrun neither.
  return typeof Buffer === "undefined" ? decodeBase64(text) : new Uint8Array(Buffer.from(text, "base64"));
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function decodeBase64(text: string): Uint8Array {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let at = 0;
  for (let i = 0; i < text.length; i += 4) {
    let group = 0;
    for (let j = i; j < i + 4; j++) group = group * 64 + Math.max(BASE64.indexOf(text.charAt(j)), 0);
    for (let shift = 16; shift >= 0 && at < bytes.length; shift -= 8) bytes[at++] = (group >> shift) & 0xff;
  }
  return bytes;
}
