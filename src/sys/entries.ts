/** What an open directory holds, with names as the bytes that they are; times and holes of files. */
import { check, cString, failure, type PathArg, retrying } from "./call.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS } from "./constants.ts";
import { syscall } from "./ffi.ts";
import { seek } from "./file.ts";
import { SYS } from "./numbers.ts";
import { readStatx, STATX_SIZE, type Statx, setU64, viewOf } from "./structs.ts";

/** Names in a directory (O_RDONLY), without "." and "..", in no order. Read from its beginning. */
export function readNames(fd: number, path?: PathArg): Uint8Array[] {
  seek(fd, 0);
  const names: Uint8Array[] = [];
  const buffer = new Uint8Array(32768);
  const view = viewOf(buffer);
  for (;;) {
    const length = check(syscall(SYS.getdents64, fd, buffer, buffer.length), "read directory", path);
    if (length === 0) return names;
    // struct linux_dirent64: d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name.
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      const name = buffer.slice(at + 19, buffer.indexOf(0, at + 19));
      const isDots = name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
      if (!isDots) names.push(name);
    }
  }
}

export interface FileTime {
  seconds: number;
  nanoseconds: number;
}

/** Sets the time of change, and of access with it; of a name that is not followed, or of `fd` itself. */
export function setTime(fd: number, name: PathArg, { seconds, nanoseconds }: FileTime): number {
  const times = new Uint8Array(32);
  const view = viewOf(times);
  for (const offset of [0, 16]) {
    setU64(view, offset, seconds < 0 ? BigInt(seconds) : seconds);
    setU64(view, offset + 8, nanoseconds);
  }
  const flags = name.length === 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  return syscall(SYS.utimensat, fd, cString(name, "utimensat"), times, flags);
}

/** lseek(2) to an offset, for writing a file with holes. */
export function truncate(fd: number, size: number, path?: PathArg): void {
  check(syscall(SYS.ftruncate, fd, size), "ftruncate", path);
}

/** pread(2): how many bytes were read. */
export function pread(fd: number, buffer: Uint8Array, offset: number, path?: PathArg): number {
  return check(retrying(SYS.pread64, fd, buffer, buffer.length, offset), "read", path);
}

/** pread(2) until the buffer is full. @returns the bytes there are, fewer at the end of the file */
export function preadFull(fd: number, buffer: Uint8Array, offset: number, path?: PathArg): Uint8Array {
  let length = 0;
  while (length < buffer.length) {
    const count = pread(fd, buffer.subarray(length), offset + length, path);
    if (count === 0) break;
    length += count;
  }
  return buffer.subarray(0, length);
}

/** pwrite(2) of all the bytes. */
export function pwrite(fd: number, bytes: Uint8Array, offset: number, path?: PathArg): void {
  let done = 0;
  while (done < bytes.length) {
    const rest = bytes.subarray(done);
    done += check(retrying(SYS.pwrite64, fd, rest, rest.length, offset + done), "write", path);
  }
}

/** ioctl(2) FICLONE: shares the content of another file on filesystems that can (btrfs, xfs). 0 or -errno. */
export function reflink(from: number, to: number): number {
  return syscall(SYS.ioctl, to, 0x40049409, from);
}

export function failed(operation: string, result: number, path?: PathArg): Error {
  return failure(operation, -result, path);
}

/** statx(2) of a name that is not followed, with the time of change in seconds, and the nanoseconds of it. */
export function statTime(dirFd: number, name: PathArg): Statx & { mtime: number; mtimeNs: number } {
  const buffer = new Uint8Array(STATX_SIZE);
  const flags = AT_SYMLINK_NOFOLLOW | (name.length === 0 ? AT_EMPTY_PATH : 0);
  const result = syscall(SYS.statx, dirFd, cString(name, "stat"), flags, STATX_BASIC_STATS, buffer);
  check(result, "stat", name);
  const view = viewOf(buffer);
  return { ...readStatx(buffer), mtime: Number(view.getBigInt64(112, true)), mtimeNs: view.getUint32(120, true) };
}
