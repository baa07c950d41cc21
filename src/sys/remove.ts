/**
 * Removes a tree by descriptor: no symlink is followed and no mount is crossed. Each directory is
 * opened in its parent (O_NOFOLLOW) and its mount id compared with the parent's before anything in
 * it is touched, so a mount that was left behind, or made meanwhile, ends the removal with EXDEV.
 */
import { isErrno, type SyscallError } from "../errors.ts";
import { cString, failure, type PathArg, pathText, retrying } from "./call.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { closeQuiet, Fd, mountId, open, seek, statx } from "./file.ts";
import { SYS } from "./numbers.ts";
import { viewOf } from "./structs.ts";

const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const EBUSY = 16;
const EEXIST = 17;
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

const DOT = 0x2e;
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

interface Removal {
  /** The path of what is removed, as the caller knows it. */
  shown: string;
  levels: Level[];
  /** For getdents64(2). */
  buffer: Uint8Array;
  view: DataView;
}

/**
 * Removes `name` in the directory `parent` (a descriptor, or a trusted path), whatever it is.
 * Nothing there is fine. `name` is one component.
 *
 * @throws SyscallError EXDEV naming the mount in the way; EPERM for what is immutable; what was removed stays so
 */
export function removeTree(parent: number | string, name: PathArg): void {
  const shown = pathText(name);
  if (shown === "" || shown === "." || shown === ".." || shown.includes("/")) {
    throw failure(
      "remove",
      22,
      typeof parent === "string" ? `${parent}/${shown}` : shown,
      "name one entry of a directory",
    );
  }
  if (typeof parent === "number") {
    removeBelow(parent, name, shown);
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
  removeBelow(held.fd, name, `${parent}/${shown}`);
}

/** removeTree of an absolute path whose parent is trusted. */
export function removePath(path: string): void {
  const slash = path.lastIndexOf("/");
  removeTree(path.slice(0, slash) || (slash === 0 ? "/" : "."), path.slice(slash + 1));
}

function removeBelow(parentFd: number, name: PathArg, shown: string): void {
  const buffer = new Uint8Array(32768);
  const removal: Removal = { shown, levels: [], buffer, view: viewOf(buffer) };
  const { levels } = removal;
  const outer: Parent = { fd: parentFd, mountId: mountId(parentFd), isOurs: false };
  try {
    enter(removal, outer, cString(name, "remove").subarray(0, -1));
    while (levels.length > 0) {
      const level = levels[levels.length - 1] as Level;
      const next = level.directories.pop();
      if (next !== undefined) {
        enter(removal, level, next);
        closeFarAbove(levels);
      } else {
        leave(removal, levels.length === 1 ? outer : levelAbove(removal), level);
      }
    }
  } finally {
    for (const { fd } of levels) closeQuiet(fd);
  }
}

/** The path of what is at hand, for an error: of the last level, or of an entry in it. */
function pathOf({ shown, levels }: Removal, entry?: Uint8Array): string {
  // The first level is what `shown` names; while there is none, so is the entry.
  if (levels.length === 0) return shown;
  const names = levels.slice(1).map((level) => pathText(level.name));
  return [shown, ...names, ...(entry === undefined ? [] : [pathText(entry)])].join("/");
}

/** Opens a directory and removes all in it that is none; what turns out to be no directory is removed itself. */
function enter(removal: Removal, parent: Parent, name: Uint8Array): void {
  const fd = openDirectory(removal, parent, name);
  if (fd === undefined) {
    const result = unlink(parent, name, 0);
    if (result < 0 && result !== -ENOENT) throw removalFailure("unlink", -result, pathOf(removal, name));
    return;
  }
  try {
    const { mountId: id = mountId(fd), devMajor, devMinor, ino } = statx(fd, "");
    if (id !== parent.mountId) throw mountInTheWay(pathOf(removal, name));
    removal.levels.push({ fd, name, mountId: id, isOurs: true, devMajor, devMinor, ino, directories: [], passes: 0 });
  } catch (error) {
    closeQuiet(fd);
    throw error;
  }
  removeFiles(removal, removal.levels[removal.levels.length - 1] as Level);
}

function closeFarAbove(levels: Level[]): void {
  const far = levels[levels.length - 1 - MAX_OPEN];
  if (far === undefined) return;
  closeQuiet(far.fd);
  far.fd = -1;
}

/** The directory, not following; undefined when it is something else or gone. */
function openDirectory(removal: Removal, parent: Parent, name: Uint8Array): number | undefined {
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const text = cString(name, "open");
  let result = retrying(SYS.openat, parent.fd, text, flags, 0);
  if (result === -EACCES && openUp(parent, name)) {
    result = retrying(SYS.openat, parent.fd, text, flags, 0);
  }
  if (result >= 0) return result;
  if (result === -ENOTDIR || result === -ELOOP || result === -ENOENT) return undefined;
  throw failure("open", -result, pathOf(removal, name));
}

/** Gives the owner of a directory without permissions (overlay's work directory is one) the right to empty it. */
function openUp(parent: Parent, name: Uint8Array): boolean {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const opened = retrying(SYS.openat, parent.fd, cString(name, "open"), flags, 0);
  if (opened < 0) return false;
  using place = new Fd(opened);
  return mountId(place.fd) === parent.mountId && allowOwner(place.fd);
}

function allowOwner(fd: number): boolean {
  // fchmod(2) refuses O_PATH descriptors; their path in /proc leads to the same directory.
  return syscall(SYS.fchmodat, AT_FDCWD, cString(`/proc/self/fd/${fd}`, "chmod"), 0o700) === 0;
}

/** unlinkat(2), once more after making the directory writable where only that is missing. */
function unlink(parent: Parent, name: Uint8Array, flags: number): number {
  const text = cString(name, "unlink");
  const result = syscall(SYS.unlinkat, parent.fd, text, flags);
  if (result !== -EACCES || !parent.isOurs || !allowOwner(parent.fd)) return result;
  return syscall(SYS.unlinkat, parent.fd, text, flags);
}

/** Reads a directory to its end, removes its files, and notes its directories. */
function removeFiles(removal: Removal, level: Level): void {
  const { buffer, view } = removal;
  for (;;) {
    const length = syscall(SYS.getdents64, level.fd, buffer, buffer.length);
    // ENOENT: somebody else has removed the directory meanwhile.
    if (length === 0 || length === -ENOENT) return;
    if (length < 0) throw failure("read directory", -length, pathOf(removal));
    // struct linux_dirent64: d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name.
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const type = buffer[at + 18];
      const name = buffer.subarray(at + 19, buffer.indexOf(0, at + 19));
      if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))) continue;
      if (type === DT_DIR || (type === DT_UNKNOWN && isDirectory(level.fd, name))) {
        level.directories.push(name.slice());
        continue;
      }
      const result = unlink(level, name, 0);
      if (result === -EISDIR) level.directories.push(name.slice());
      else if (result < 0 && result !== -ENOENT) throw removalFailure("unlink", -result, pathOf(removal, name));
    }
  }
}

function isDirectory(fd: number, name: Uint8Array): boolean {
  try {
    return (statx(fd, name).mode & S_IFMT) === S_IFDIR;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** The level above the last; when it was closed, it is reached by ".." and must be the one we left. */
function levelAbove(removal: Removal): Level {
  const { levels } = removal;
  const below = levels[levels.length - 1] as Level;
  const above = levels[levels.length - 2] as Level;
  if (above.fd >= 0) return above;
  const fd = retrying(SYS.openat, below.fd, cString("..", "open"), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0 && fd !== -ENOENT) throw failure("open", -fd, `${pathOf(removal)}/..`);
  above.fd = fd;
  if (fd < 0 || !isSame(above, fd)) {
    throw failure(
      "remove",
      ESTALE,
      pathOf(removal),
      "something moved or removed this directory meanwhile; remove again",
    );
  }
  return above;
}

function isSame(level: Level, fd: number): boolean {
  const { mountId: id = mountId(fd), devMajor, devMinor, ino } = statx(fd, "");
  return id === level.mountId && ino === level.ino && devMajor === level.devMajor && devMinor === level.devMinor;
}

/** Removes the last level, emptied by now; where somebody has filled it meanwhile, it is read again. */
function leave(removal: Removal, parent: Parent, level: Level): void {
  let result = unlink(parent, level.name, AT_REMOVEDIR);
  // Something else has taken its name meanwhile.
  if (result === -ENOTDIR) result = unlink(parent, level.name, 0);
  const isFilled = result === -ENOTEMPTY || result === -EEXIST || result === -EISDIR;
  if (isFilled && level.passes < MAX_PASSES) {
    level.passes++;
    seek(level.fd, 0);
    removeFiles(removal, level);
    return;
  }
  if (result < 0 && result !== -ENOENT) throw removalFailure("rmdir", -result, pathOf(removal));
  removal.levels.pop();
  closeQuiet(level.fd);
}

function removalFailure(operation: string, errno: number, path: string): SyscallError {
  if (errno === EBUSY) return mountInTheWay(path);
  const fix = errno === EPERM ? "if it is immutable or append-only (lsattr), chattr -ia it" : undefined;
  return failure(operation, errno, path, fix);
}

function mountInTheWay(path: string): SyscallError {
  return failure("remove", EXDEV, path, "it is a mount point: unmount it first; nothing is removed through a mount");
}
