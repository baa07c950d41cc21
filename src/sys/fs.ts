/**
 * The part of node:fs that tsrun uses, under the same names and with the same meaning, over the syscall door.
 *
 * node:fs itself takes Bun 1.5 ms to load, half of what the engine needs to start, and is 0.5 ms of CPU at its first
 * calls. Errors are SyscallErrors: they have `code`, as those of node:fs.
 */
import { check, cString, utf8Text } from "./call.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_PATH,
  O_RDONLY,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { closeQuiet, mkdirat, open, readlinkat, readText, statx, statxAt, symlinkat, unlinkat, write } from "./file.ts";
import { SYS } from "./numbers.ts";
import type { Statx } from "./structs.ts";

const ENOENT = 2;
const EEXIST = 17;
const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** A whole file, as UTF-8. */
export function readFileSync(path: string): string {
  const fd = open(path, O_RDONLY);
  try {
    return readText(fd, path);
  } finally {
    closeQuiet(fd);
  }
}

/**
 * Makes the file or, unless `exclusive`, replaces its content. `mode` is for one that is made; the umask counts.
 * `sync` waits until the disk has it.
 */
export function writeFileSync(
  path: string,
  text: string,
  { mode = 0o666, exclusive = false, sync = false } = {},
): void {
  const flags = O_WRONLY | O_CREAT | (exclusive ? O_EXCL : O_TRUNC) | (sync ? O_SYNC : 0);
  const fd = open(path, flags, mode);
  try {
    write(fd, text, path);
  } finally {
    closeQuiet(fd);
  }
}

/** Adds to the end of a file, and waits until the disk has it. */
export function appendFileSync(path: string, text: string, { mode = 0o666 } = {}): void {
  const fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_SYNC, mode);
  try {
    write(fd, text, path);
  } finally {
    closeQuiet(fd);
  }
}

/** write(2) once: how many of the bytes from `offset` on were written. */
export function writeSync(fd: number, bytes: Uint8Array, offset = 0): number {
  return check(syscall(SYS.write, fd, bytes.subarray(offset), bytes.length - offset), "write");
}

/** `recursive` makes the parents too, with the same mode, and is content with a directory that exists. */
export function mkdirSync(path: string, { mode = 0o777, recursive = false } = {}): void {
  if (!recursive) {
    mkdirat(AT_FDCWD, path, mode);
    return;
  }
  const name = cString(path, "mkdir");
  let result = syscall(SYS.mkdirat, AT_FDCWD, name, mode);
  const parent = path.slice(0, path.lastIndexOf("/"));
  if (result === -ENOENT && parent !== "") {
    mkdirSync(parent, { mode, recursive });
    result = syscall(SYS.mkdirat, AT_FDCWD, name, mode);
  }
  if (result === -EEXIST && statSync(path)?.isDirectory()) return;
  check(result, "mkdir", path);
}

export function rmdirSync(path: string): void {
  unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

export function unlinkSync(path: string): void {
  unlinkat(AT_FDCWD, path);
}

export function renameSync(from: string, to: string): void {
  check(syscall(SYS.renameat2, AT_FDCWD, cString(from, "rename"), AT_FDCWD, cString(to, "rename"), 0), "rename", to);
}

export function symlinkSync(target: string, path: string): void {
  symlinkat(target, AT_FDCWD, path);
}

export function readlinkSync(path: string): string {
  return readlinkat(AT_FDCWD, path);
}

/** The absolute path without symlinks, as the kernel resolves it. */
export function realpathSync(path: string): string {
  const fd = open(path, O_PATH);
  try {
    return readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`);
  } finally {
    closeQuiet(fd);
  }
}

/** The names in a directory, without "." and "..", in no order. */
export function readdirSync(path: string): string[] {
  const names: string[] = [];
  const fd = open(path, O_RDONLY | O_DIRECTORY);
  try {
    // struct linux_dirent64: d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name.
    const buffer = new Uint8Array(32768);
    const view = new DataView(buffer.buffer);
    for (;;) {
      const length = check(syscall(SYS.getdents64, fd, buffer, buffer.length), "read directory", path);
      if (length === 0) return names;
      for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
        const name = utf8Text(buffer.subarray(at + 19, buffer.indexOf(0, at + 19)));
        if (name !== "." && name !== "..") names.push(name);
      }
    }
  } finally {
    closeQuiet(fd);
  }
}

/** A link to nowhere does not exist. */
export function existsSync(path: string): boolean {
  return syscall(SYS.faccessat, AT_FDCWD, cString(path, "access"), 0) === 0;
}

/** May we execute it? */
export function isExecutable(path: string): boolean {
  return syscall(SYS.faccessat, AT_FDCWD, cString(path, "access"), 1) === 0;
}

/** May the caller write it? */
export function isWritable(path: string): boolean {
  return syscall(SYS.faccessat, AT_FDCWD, cString(path, "access"), 2) === 0;
}

const SEARCH_PATH = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/** Where a program of the host is; PATH is not asked, as callers run tsrun without one. */
export function findProgram(name: string): string | undefined {
  for (const dir of SEARCH_PATH) if (isExecutable(`${dir}/${name}`)) return `${dir}/${name}`;
  return undefined;
}

/** Follows a symlink. */
export function chmodSync(path: string, mode: number): void {
  check(syscall(SYS.fchmodat, AT_FDCWD, cString(path, "chmod"), mode), "chmod", path);
}

/** -1 leaves an id as it is. Follows a symlink. */
export function chownSync(path: string, uid: number, gid: number): void {
  check(syscall(SYS.fchownat, AT_FDCWD, cString(path, "chown"), uid, gid, 0), "chown", path);
}

/** What stat(2) tells. */
export class Stats {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly ino: number;
  /** Device of the file system, and of the device that the file is: one number each, 0 for 0:0. */
  readonly dev: number;
  readonly rdev: number;

  constructor({ mode, uid, gid, size, ino, devMajor, devMinor, rdevMajor, rdevMinor }: Statx) {
    this.mode = mode;
    this.uid = uid;
    this.gid = gid;
    this.size = size;
    this.ino = ino;
    this.dev = devMajor * 0x100000 + devMinor;
    this.rdev = rdevMajor * 0x100000 + rdevMinor;
  }

  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  isFIFO(): boolean {
    return (this.mode & 0o170000) === 0o010000;
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFCHR;
  }
}

/** Follows symlinks; undefined when there is no such file. */
export function statSync(path: string): Stats | undefined {
  return statsOf(statxAt(AT_FDCWD, path, 0), path);
}

/** Does not follow a symlink; undefined when there is no such file. */
export function lstatSync(path: string): Stats | undefined {
  return statsOf(statxAt(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), path);
}

/** What an open file is. */
export function fstatSync(fd: number): Stats {
  return new Stats(statx(fd, ""));
}

function statsOf(found: Statx | number, path: string): Stats | undefined {
  if (typeof found !== "number") return new Stats(found);
  if (found !== -ENOENT) check(found, "stat", path);
  return undefined;
}
