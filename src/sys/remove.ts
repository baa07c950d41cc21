/**
 * Removes a tree by descriptor: no symlink is followed and no mount is crossed. Each directory is
 * opened in its parent (O_NOFOLLOW) and its mount id compared with the parent's before anything in
 * it is touched, so a mount that was left behind, or made meanwhile, ends the removal with EXDEV.
 */
import { isErrno, type SyscallError } from "../errors.ts";
import { check, cString, failure, pathText, retrying } from "./call.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { closeQuiet, Fd, mountId, open, openat, seek, statx } from "./file.ts";
import { SYS } from "./numbers.ts";
import { viewOf } from "./structs.ts";

const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const EBUSY = 16;
const EXDEV = 18;
const ENOTDIR = 20;
const EISDIR = 21;
const ENOTEMPTY = 39;
const ELOOP = 40;
const ESTALE = 116;

/** A tree of any depth is removed with this many descriptors: the lowest directories of the branch we are in. */
const MAX_OPEN = 32;

/** How often a directory that somebody fills while we empty it is read again. */
const MAX_PASSES = 16;

const DT_UNKNOWN = 0;
const DT_DIR = 4;

/** A directory that has the entry to be removed. `isOurs`: it goes too, so its permissions may be changed. */
interface Parent {
  /** -1 while it is closed. */
  fd: number;
  mountId: number;
  isOurs: boolean;
}

/** A directory on the way down: what is left to do in it, and how to know it again. */
interface Level extends Parent {
  name: Uint8Array;
  devMajor: number;
  devMinor: number;
  ino: number;
  directories: Uint8Array[];
  passes: number;
}

/**
 * Removes `name` in the directory `parent` (a descriptor, or a trusted path), whatever it is.
 * Nothing there is fine. `name` is one component.
 *
 * @throws SyscallError EXDEV naming the mount in the way; EPERM for what is immutable; what was removed stays so
 */
export function removeTree(parent: number | string, name: string): void {
  if (name === "" || name === "." || name === ".." || name.includes("/")) {
    throw failure(
      "remove",
      22,
      typeof parent === "string" ? `${parent}/${name}` : name,
      "name one entry of a directory",
    );
  }
  if (typeof parent === "number") {
    removeBelow(parent, name, name);
    return;
  }
  let directory: number;
  try {
    directory = open(parent, O_PATH | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    throw error;
  }
  using held = new Fd(directory);
  removeBelow(held.fd, name, `${parent}/${name}`);
}

/** removeTree of an absolute path whose parent is trusted. */
export function removePath(path: string): void {
  const slash = path.lastIndexOf("/");
  removeTree(path.slice(0, slash) || (slash === 0 ? "/" : "."), path.slice(slash + 1));
}

function removeBelow(parentFd: number, name: string, shown: string): void {
  const entry = cString(name, "remove").subarray(0, -1);
  const levels: Level[] = [];
  const where = (child?: Uint8Array) =>
    [shown, ...levels.slice(1).map((level) => pathText(level.name)), ...(child ? [pathText(child)] : [])].join("/");
  const outer: Parent = { fd: parentFd, mountId: mountId(parentFd), isOurs: false };
  try {
    const first = enter(outer, entry, shown);
    if (first === undefined) return;
    levels.push(first);
    while (levels.length > 0) {
      const level = levels[levels.length - 1] as Level;
      const next = level.directories.pop();
      if (next !== undefined) {
        descend(levels, level, next, where);
        continue;
      }
      const above = levels.length === 1 ? outer : reopen(levels, where);
      if (finished(above, level, where)) levels.pop();
    }
  } finally {
    for (const { fd } of levels) closeQuiet(fd);
  }
}

function descend(levels: Level[], level: Level, name: Uint8Array, where: (child?: Uint8Array) => string): void {
  const child = enter(level, name, where(name));
  if (child === undefined) return;
  levels.push(child);
  const far = levels[levels.length - 1 - MAX_OPEN];
  if (far !== undefined && far.fd >= 0) {
    closeQuiet(far.fd);
    far.fd = -1;
  }
}

/** Opens a directory and removes all in it that is not a directory; undefined when it was none, and then it is gone. */
function enter(parent: Parent, name: Uint8Array, shown: string): Level | undefined {
  const fd = openDirectory(parent, name, shown);
  if (fd === undefined) {
    removeFile(parent, name, shown);
    return undefined;
  }
  try {
    const { mountId: id = mountId(fd), devMajor, devMinor, ino } = statx(fd, "");
    if (id !== parent.mountId) throw mountInTheWay(shown);
    const level: Level = { fd, name, mountId: id, isOurs: true, devMajor, devMinor, ino, directories: [], passes: 0 };
    removeFiles(level, shown);
    return level;
  } catch (error) {
    closeQuiet(fd);
    throw error;
  }
}

/** The directory, not following; undefined when it is something else or gone. */
function openDirectory(parent: Parent, name: Uint8Array, shown: string): number | undefined {
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const text = cString(name, "open");
  let result = retrying(SYS.openat, parent.fd, text, flags, 0);
  if (result === -EACCES && openUp(parent, name)) {
    result = retrying(SYS.openat, parent.fd, text, flags, 0);
  }
  if (result >= 0) return result;
  if (result === -ENOTDIR || result === -ELOOP || result === -ENOENT) return undefined;
  throw failure("open", -result, shown);
}

/** Gives the owner of a directory without permissions (overlay's work directory is one) the right to empty it. */
function openUp(parent: Parent, name: Uint8Array): boolean {
  const opened = retrying(
    SYS.openat,
    parent.fd,
    cString(name, "open"),
    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    0,
  );
  if (opened < 0) return false;
  using place = new Fd(opened);
  return mountId(place.fd) === parent.mountId && allowOwner(place.fd);
}

function allowOwner(fd: number): boolean {
  // fchmod(2) refuses O_PATH descriptors; their path in /proc leads to the same directory.
  return syscall(SYS.fchmodat, AT_FDCWD, cString(`/proc/self/fd/${fd}`, "chmod"), 0o700) === 0;
}

/** Removes an entry that is no directory; it may be gone already. */
function removeFile(parent: Parent, name: Uint8Array, shown: string): void {
  const result = unlink(parent, name, 0);
  if (result < 0 && result !== -ENOENT) throw removalFailure("unlink", -result, shown);
}

/** unlinkat(2), once more after making the directory writable where only that is missing. */
function unlink(parent: Parent, name: Uint8Array, flags: number): number {
  const text = cString(name, "unlink");
  const result = syscall(SYS.unlinkat, parent.fd, text, flags);
  if (result !== -EACCES || !parent.isOurs || !allowOwner(parent.fd)) return result;
  return syscall(SYS.unlinkat, parent.fd, text, flags);
}

/** Reads a directory to its end, removes its files, and notes its directories. */
function removeFiles(level: Level, shown: string): void {
  const buffer = new Uint8Array(32768);
  const view = viewOf(buffer);
  for (;;) {
    const length = check(syscall(SYS.getdents64, level.fd, buffer, buffer.length), "read directory", shown);
    if (length === 0) return;
    // struct linux_dirent64: d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name.
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const type = buffer[at + 18];
      const name = buffer.subarray(at + 19, buffer.indexOf(0, at + 19));
      if (name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))) continue;
      if (type === DT_DIR || (type === DT_UNKNOWN && isDirectory(level.fd, name))) {
        level.directories.push(new Uint8Array(name));
        continue;
      }
      const result = unlink(level, name, 0);
      if (result === -EISDIR) level.directories.push(new Uint8Array(name));
      else if (result < 0 && result !== -ENOENT) throw removalFailure("unlink", -result, `${shown}/${pathText(name)}`);
    }
  }
}

function isDirectory(fd: number, name: Uint8Array): boolean {
  try {
    return (statx(fd, name).mode & 0o170000) === 0o040000;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** The level above the last; when it was closed, it is reached by ".." and must be the one we left. */
function reopen(levels: Level[], where: () => string): Level {
  const below = levels[levels.length - 1] as Level;
  const above = levels[levels.length - 2] as Level;
  if (above.fd >= 0) return above;
  const fd = openat(below.fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  above.fd = fd;
  const { mountId: id = mountId(fd), devMajor, devMinor, ino } = statx(fd, "");
  const same = id === above.mountId && ino === above.ino && devMajor === above.devMajor && devMinor === above.devMinor;
  if (!same) throw failure("remove", ESTALE, where(), "something moved this directory meanwhile; remove again");
  return above;
}

/** Removes an emptied directory. False when it was filled meanwhile and has been read again. */
function finished(parent: Parent, level: Level, where: () => string): boolean {
  const result = unlink(parent, level.name, AT_REMOVEDIR);
  if (result === -ENOTEMPTY && level.passes < MAX_PASSES) {
    level.passes++;
    seek(level.fd, 0);
    removeFiles(level, where());
    return false;
  }
  if (result < 0 && result !== -ENOENT) throw removalFailure("rmdir", -result, where());
  closeQuiet(level.fd);
  level.fd = -1;
  return true;
}

function removalFailure(operation: string, errno: number, path: string): SyscallError {
  if (errno === EBUSY) return mountInTheWay(path);
  const fix = errno === EPERM ? "if it is immutable or append-only (lsattr), chattr -ia it" : undefined;
  return failure(operation, errno, path, fix);
}

function mountInTheWay(path: string): SyscallError {
  return failure("remove", EXDEV, path, "it is a mount point: unmount it first; nothing is removed through a mount");
}
