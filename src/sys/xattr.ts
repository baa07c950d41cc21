/**
 * Extended attributes, of an open file or of a name that is not followed. There is no call that takes a
 * directory's descriptor and a name before Linux 6.13; the path through /proc/self/fd is one.
 */
import { check, cString, failure, utf8Text } from "./call.ts";
import { syscall } from "./ffi.ts";
import { SYS } from "./numbers.ts";

const ENODATA = 61;
const ENOTSUP = 95;
const ERANGE = 34;

/** The path of a name in an open directory, for calls that take a path alone. */
function pathAt(dirFd: number, name: Uint8Array): Uint8Array {
  const prefix = cString(`/proc/self/fd/${dirFd}/`, "open").subarray(0, -1);
  const path = new Uint8Array(prefix.length + name.length);
  path.set(prefix);
  path.set(name, prefix.length);
  return path;
}

/** fsetxattr(2): 0 or -errno. */
export function setXattr(fd: number, name: Uint8Array, value: Uint8Array): number {
  return syscall(SYS.fsetxattr, fd, cString(name, "setxattr"), value, value.length, 0);
}

/** lsetxattr(2): 0 or -errno. */
export function setXattrAt(dirFd: number, file: Uint8Array, name: Uint8Array, value: Uint8Array): number {
  const path = cString(pathAt(dirFd, file), "setxattr");
  return syscall(SYS.lsetxattr, path, cString(name, "setxattr"), value, value.length, 0);
}

/** lremovexattr(2); one that is not there, or cannot be on this filesystem, is fine. */
export function removeXattrAt(dirFd: number, file: Uint8Array, name: string): void {
  const path = cString(pathAt(dirFd, file), "removexattr");
  const result = syscall(SYS.lremovexattr, path, cString(name, "removexattr"));
  if (result !== -ENODATA && result !== -ENOTSUP) check(result, "removexattr", name);
}

/** lgetxattr(2); undefined when there is no such attribute, or no attributes at all. */
export function getXattrAt(dirFd: number, file: Uint8Array, name: string | Uint8Array): Uint8Array | undefined {
  const path = cString(pathAt(dirFd, file), "getxattr");
  const key = cString(name, "getxattr");
  return grow((buffer) => syscall(SYS.lgetxattr, path, key, buffer, buffer.length));
}

/** llistxattr(2): the names. */
export function listXattrsAt(dirFd: number, file: Uint8Array): Uint8Array[] {
  const path = cString(pathAt(dirFd, file), "listxattr");
  const all = grow((buffer) => syscall(SYS.llistxattr, path, buffer, buffer.length));
  const names: Uint8Array[] = [];
  let start = 0;
  for (let end = all?.indexOf(0) ?? -1; all !== undefined && end !== -1; end = all.indexOf(0, start)) {
    names.push(all.subarray(start, end));
    start = end + 1;
  }
  return names;
}

function grow(call: (buffer: Uint8Array) => number): Uint8Array | undefined {
  for (let size = 512; size <= 1 << 17; size *= 16) {
    const buffer = new Uint8Array(size);
    const result = call(buffer);
    if (result >= 0) return buffer.subarray(0, result);
    // EOPNOTSUPP (95), and EPERM for user.* of what is neither file nor directory.
    if (result === -ENODATA || result === -95 || result === -1) return undefined;
    if (result !== -ERANGE) throw failure("getxattr", -result, utf8Text(buffer.subarray(0, 0)));
  }
  return undefined;
}
