/**
 * Files, directories and descriptors. Every descriptor is close-on-exec from birth.
 * Whole files by a trusted path are in fs.ts.
 */
import { check, cString, failure, type PathArg, retrying, utf8Bytes, utf8Text } from "./call.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  F_ADD_SEALS,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_SETFD,
  FD_CLOEXEC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MFD_EXEC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  STATX_BASIC_STATS,
  STATX_MNT_ID,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { SYS } from "./numbers.ts";
import { openHow, readStatx, STATX_SIZE, type Statx } from "./structs.ts";

const ENOSYS = 38;
const EAGAIN = 11;
const EINVAL = 22;
const EMFILE = 24;

/** open(2), close-on-exec. */
export function open(path: PathArg, flags: number, mode = 0): number {
  return openat(AT_FDCWD, path, flags, mode);
}

/** openat(2), close-on-exec. */
export function openat(dirFd: number, path: PathArg, flags: number, mode = 0): number {
  return check(retrying(SYS.openat, dirFd, cString(path, "open"), flags | O_CLOEXEC, mode), "open", path);
}

export interface OpenHow {
  flags: number;
  mode?: number;
  /** RESOLVE_* */
  resolve: number;
}

/** openat2(2), close-on-exec. EAGAIN, which it gives when something was renamed meanwhile, is tried again. */
export function openat2(dirFd: number, path: PathArg, { flags, mode = 0, resolve }: OpenHow): number {
  const how = openHow(flags | O_CLOEXEC, mode, resolve);
  const name = cString(path, "openat2");
  let result = -EAGAIN;
  for (let attempt = 0; attempt < 128 && result === -EAGAIN; attempt++) {
    result = retrying(SYS.openat2, dirFd, name, how, how.length);
  }
  return check(result, "openat2", path);
}

/** close(2). Never repeated: Linux frees the number even when it answers EINTR. */
export function close(fd: number): void {
  const result = syscall(SYS.close, fd);
  if (result < 0 && result !== -4) throw failure("close", -result, `fd ${fd}`);
}

/** close(2) where nothing can be done about a failure; negative numbers are ignored. */
export function closeQuiet(fd: number | undefined): void {
  if (fd !== undefined && fd >= 0) syscall(SYS.close, fd);
}

/** A descriptor that `using` closes, unless `release` took it out. */
export class Fd {
  #fd: number;
  constructor(fd: number) {
    this.#fd = fd;
  }
  get fd(): number {
    return this.#fd;
  }
  /** Gives the descriptor to the caller, who closes it from now on. */
  release(): number {
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }
  [Symbol.dispose](): void {
    closeQuiet(this.release());
  }
}

/** read(2): bytes read into `buffer`, 0 at the end. */
export function read(fd: number, buffer: Uint8Array, path?: PathArg): number {
  return check(retrying(SYS.read, fd, buffer, buffer.length), "read", path);
}

/** Reads until the end. */
export function readAll(fd: number, path?: PathArg): Uint8Array {
  let bytes = new Uint8Array(4096);
  let length = 0;
  for (;;) {
    const count = read(fd, bytes.subarray(length), path);
    if (count === 0) return bytes.subarray(0, length);
    length += count;
    if (length < bytes.length) continue;
    const larger = new Uint8Array(bytes.length * 4);
    larger.set(bytes);
    bytes = larger;
  }
}

/** Reads until the end, as UTF-8. */
export function readText(fd: number, path?: PathArg): string {
  return utf8Text(readAll(fd, path));
}

/** write(2), repeated until all is written. `path` is for the error. */
export function write(fd: number, data: string | Uint8Array, path?: PathArg): void {
  let rest = typeof data === "string" ? utf8Bytes(data) : data;
  while (rest.length > 0) {
    rest = rest.subarray(check(retrying(SYS.write, fd, rest, rest.length), "write", path));
  }
}

/** Writes memory that is no view of ours. */
export function writeMemory(fd: number, address: number, length: number): void {
  let done = 0;
  while (done < length) done += check(retrying(SYS.write, fd, address + done, length - done), "write");
}

/** One write(2) of all the data: what files of /proc and of cgroups want. An empty text is written too. */
export function writeOnce(fd: number, data: string | Uint8Array, path?: PathArg): void {
  const bytes = typeof data === "string" ? utf8Bytes(data) : data;
  const written = check(retrying(SYS.write, fd, bytes, bytes.length), "write", path);
  if (written !== bytes.length) throw failure("write", 5, path, undefined, new Error(`${written} bytes were written`));
}

/** lseek(2) from the start. */
export function seek(fd: number, offset: number): void {
  check(syscall(SYS.lseek, fd, offset, 0), "lseek");
}

export function mkdirat(dirFd: number, path: PathArg, mode: number): void {
  check(syscall(SYS.mkdirat, dirFd, cString(path, "mkdir"), mode), "mkdir", path);
}

/** mknodat(2); `mode` has the S_IF* type, `device` comes from makedev. */
export function mknodat(dirFd: number, path: PathArg, mode: number, device = 0): void {
  check(syscall(SYS.mknodat, dirFd, cString(path, "mknod"), mode, device), "mknod", path);
}

/** A device number as mknod(2) takes it. */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** unlinkat(2); AT_REMOVEDIR makes it rmdir(2). */
export function unlinkat(dirFd: number, path: PathArg, flags = 0): void {
  check(syscall(SYS.unlinkat, dirFd, cString(path, "unlink"), flags), flags === 0 ? "unlink" : "rmdir", path);
}

export function symlinkat(target: PathArg, dirFd: number, path: PathArg): void {
  check(syscall(SYS.symlinkat, cString(target, "symlink"), dirFd, cString(path, "symlink")), "symlink", path);
}

export function linkat(fromFd: number, from: PathArg, toFd: number, to: PathArg, flags = 0): void {
  check(syscall(SYS.linkat, fromFd, cString(from, "link"), toFd, cString(to, "link"), flags), "link", to);
}

/** renameat2(2); `flags` such as RENAME_NOREPLACE (1) or RENAME_EXCHANGE (2). */
export function renameat(fromFd: number, from: PathArg, toFd: number, to: PathArg, flags = 0): void {
  check(syscall(SYS.renameat2, fromFd, cString(from, "rename"), toFd, cString(to, "rename"), flags), "rename", to);
}

/** readlinkat(2); with an empty path, of the O_PATH descriptor `dirFd` itself. */
export function readlinkat(dirFd: number, path: PathArg): string {
  const target = new Uint8Array(4096);
  const length = check(
    syscall(SYS.readlinkat, dirFd, cString(path, "readlink"), target, target.length),
    "readlink",
    path,
  );
  return utf8Text(target.subarray(0, length));
}

export function fchmod(fd: number, mode: number, path?: PathArg): void {
  check(syscall(SYS.fchmod, fd, mode), "chmod", path);
}

/** fchownat(2) of a descriptor, O_PATH ones too; -1 leaves an id as it is. */
export function fchown(fd: number, uid: number, gid: number, path?: PathArg): void {
  check(syscall(SYS.fchownat, fd, EMPTY, uid, gid, AT_EMPTY_PATH), "chown", path);
}

/** fchownat(2) that does not follow a symlink. */
export function lchownat(dirFd: number, path: PathArg, uid: number, gid: number): void {
  check(syscall(SYS.fchownat, dirFd, cString(path, "chown"), uid, gid, AT_SYMLINK_NOFOLLOW), "chown", path);
}

const EMPTY = new Uint8Array(1);

/** statx(2) that does not follow a symlink and triggers no automount; with "" it is about `dirFd` itself. */
export function statx(dirFd: number, path: PathArg): Statx {
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (path.length === 0 ? AT_EMPTY_PATH : 0);
  const found = statxAt(dirFd, path, flags);
  if (typeof found === "number") throw failure("stat", -found, path);
  return found;
}

/** statx(2) with any flags, or -errno. */
export function statxAt(dirFd: number, path: PathArg, flags: number): Statx | number {
  const buffer = new Uint8Array(STATX_SIZE);
  const mask = STATX_BASIC_STATS | STATX_MNT_ID;
  const result = syscall(SYS.statx, dirFd, cString(path, "stat"), flags, mask, buffer);
  return result < 0 ? result : readStatx(buffer);
}

/** The id of the mount that a descriptor lies on, as /proc/self/mountinfo counts. */
export function mountId(fd: number): number {
  return statx(fd, "").mountId ?? mountIdOfFdinfo(fd);
}

/** Linux before 5.8 tells the mount id only in /proc. */
function mountIdOfFdinfo(fd: number): number {
  const path = `/proc/self/fdinfo/${fd}`;
  using file = new Fd(open(path, O_RDONLY));
  const found = readText(file.fd, path)
    .split("\n")
    .find((line) => line.startsWith("mnt_id:"));
  if (found === undefined) throw failure("read mnt_id of", ENOSYS, path);
  return Number(found.slice("mnt_id:".length));
}

/** Is this path, not followed when a symlink, the root of a mount? */
export function isMountPoint(path: string, dirFd = AT_FDCWD): boolean {
  const { mountRoot } = statx(dirFd, path);
  if (mountRoot !== undefined) return mountRoot;
  using place = new Fd(openat(dirFd, path, O_PATH | O_NOFOLLOW));
  using parent = new Fd(openat(dirFd, `${path}/..`, O_PATH | O_DIRECTORY));
  return mountId(place.fd) !== mountId(parent.fd);
}

/** syncfs(2): all of the filesystem of `fd` is on disk. */
export function syncfs(fd: number, path?: PathArg): void {
  check(syscall(SYS.syncfs, fd), "syncfs", path);
}

export function fsync(fd: number, path?: PathArg): void {
  check(syscall(SYS.fsync, fd), "fsync", path);
}

/** memfd_create(2), close-on-exec and sealable. `executable`: it will be run, which newer kernels want to be told. */
export function memfdCreate(name: string, { executable = false } = {}): number {
  const text = cString(name, "memfd_create");
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let result = syscall(SYS.memfd_create, text, executable ? flags | MFD_EXEC : flags);
  // Linux before 6.3 does not know MFD_EXEC, and needs it not.
  if (result === -22 && executable) result = syscall(SYS.memfd_create, text, flags);
  return check(result, "memfd_create", name);
}

/** fcntl(2) F_ADD_SEALS. */
export function addSeals(fd: number, seals: number): void {
  check(syscall(SYS.fcntl, fd, F_ADD_SEALS, seals), "fcntl F_ADD_SEALS");
}

/** A close-on-exec duplicate with the lowest free number from `lowest` on. */
export function dup(fd: number, lowest = 3): number {
  const result = syscall(SYS.fcntl, fd, F_DUPFD_CLOEXEC, lowest);
  // So it says that the number is not below RLIMIT_NOFILE.
  return check(result === -EINVAL ? -EMFILE : result, "dup", `fd ${fd} as ${lowest} or more`);
}

export function setCloexec(fd: number, on: boolean): void {
  check(syscall(SYS.fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0), "fcntl F_SETFD", `fd ${fd}`);
}

/** The descriptors 0 to 2 that would not outlive execve(2): Node makes its own so. */
export function cloexecStdio(): number[] {
  return [0, 1, 2].filter((fd) => syscall(SYS.fcntl, fd, F_GETFD) === FD_CLOEXEC);
}

/** Is this number an open descriptor? */
export function isOpen(fd: number): boolean {
  return syscall(SYS.fcntl, fd, F_GETFD) >= 0;
}

export interface LockOptions {
  /** LOCK_EX (the default) or LOCK_SH. */
  exclusive?: boolean;
  /** Throws EAGAIN instead of waiting. */
  nonBlock?: boolean;
  path?: PathArg;
}

/** flock(2). */
export function flock(fd: number, { exclusive = true, nonBlock = false, path }: LockOptions = {}): void {
  check(retrying(SYS.flock, fd, (exclusive ? LOCK_EX : LOCK_SH) | (nonBlock ? LOCK_NB : 0)), "flock", path);
}

/** Lets go of it. */
export function unlock(fd: number): void {
  check(syscall(SYS.flock, fd, LOCK_UN), "flock");
}

/**
 * Locks a directory until the handle is disposed of (or this process ends).
 *
 * @throws SyscallError EAGAIN when `nonBlock` and somebody else has it; ENOTDIR for a symbolic link
 */
export function flockDir(path: string, options: Omit<LockOptions, "path"> = {}): Fd {
  const directory = new Fd(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  try {
    flock(directory.fd, { ...options, path });
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
  return directory;
}
