/** The few questions and deeds of unpack.ts about single files, each by a descriptor of their directory. */
import { isErrno, type SyscallError } from "../errors.ts";
import { check } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_PATH, S_IFCHR, S_IFMT } from "../sys/constants.ts";
import { Fd, openat, statxAt } from "../sys/file.ts";
import { chmodSync } from "../sys/fs.ts";
import type { Statx } from "../sys/structs.ts";
import { nameBytes, shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";

const ENOENT = 2;

/** fchmod(2) refuses O_PATH descriptors; their path in /proc leads to the same file. */
export function chmodByFd(fd: number, mode: number): void {
  chmodSync(`/proc/self/fd/${fd}`, mode);
}

export function notInLayer(entry: TarEntry): TarError {
  return new TarError(`it is a hard link to ${shown(entry.linkName)}, which this layer does not have`);
}

export function nameOrDot(name: string): Uint8Array | "." {
  return name === "" ? "." : nameBytes(name);
}

export function openDirectory(path: string): number {
  return openat(AT_FDCWD, path, O_PATH | O_DIRECTORY);
}

export function openQuiet(root: number, path: string, flags: number = O_PATH | O_DIRECTORY): Fd | undefined {
  try {
    return new Fd(resolveInRoot(root, nameOrDot(path), flags));
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG")) return undefined;
    throw error;
  }
}

export function statOrNothing(fd: number, name: Uint8Array): Statx | undefined {
  const found = statxAt(fd, name, AT_SYMLINK_NOFOLLOW);
  if (typeof found !== "number") return found;
  if (found === -ENOENT) return undefined;
  check(found, "stat", name);
  return undefined;
}

/** How overlayfs marks what an upper layer deleted: a character device 0:0. */
export function isWhiteout(found: Statx | undefined): boolean {
  return found !== undefined && (found.mode & S_IFMT) === S_IFCHR && found.rdevMajor === 0 && found.rdevMinor === 0;
}

export function aboutEntry(error: unknown, entry: TarEntry): unknown {
  if (!(error instanceof Error)) return error;
  const cause = error as SyscallError;
  return new TarError(`${entry.type} ${shown(entry.name)}: ${cause.message}`, { cause });
}
