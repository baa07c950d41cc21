/** The few ways in which the store touches files. */
import { isErrno, SyscallError } from "../errors.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { chmodSync, chownSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "../sys/fs.ts";
import { umount2 } from "../sys/mount.ts";

export interface Owner {
  uid: number;
  gid: number;
}

/**
 * Writes a small file of the store. Not by rename, which would cost as much again: the order of the writes keeps
 * a killed tsrun harmless. Nothing relies on a file before it is complete, and an empty one counts as absent.
 */
export function writeText(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o644 });
}

/** Makes a directory of the store; returns false when there is one already. Nothing is done to that one. */
export function makeDirectory(path: string, mode: number, owner?: Owner): boolean {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
  return true;
}

/** makeDirectory for what a container sees: mkdir(2) takes the umask off the mode, and it must not count there. */
export function makeVisible(path: string, mode: number, owner?: Owner): void {
  if (makeDirectory(path, mode, owner)) chmodSync(path, mode);
}

/** The content of a small file of the store; undefined when it does not exist, or was never completed. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path) || undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** Unlinks what may be gone already. */
export function unlinkQuiet(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
  }
}

/** Unmounts what may not be mounted, there or by us. */
export function unmountQuiet(path: string): void {
  try {
    umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (error) {
    // Nothing is mounted there, nothing is there, or we are not allowed to have mounted anything.
    if (!isErrno(error, "EINVAL", "ENOENT", "ENOTDIR", "EPERM")) throw error;
  }
}

/** An error about the store with what is known to help; any other error as it is. */
export function withStoreFix(error: unknown, storageRoot: string): unknown {
  if (!(error instanceof SyscallError) || error.fix !== undefined || !error.path?.startsWith(storageRoot)) return error;
  const fix = FIXES[error.code];
  return fix === undefined ? error : new SyscallError(error.operation, error.code, { path: error.path, fix });
}

const FIXES: Readonly<Record<string, string>> = {
  EROFS: "the store needs a filesystem that can be written",
  ENOSPC: "make room on the filesystem of the store",
  EDQUOT: "make room in the quota of the store's owner",
  EACCES: "the store belongs to another user",
  ENOTDIR: "something else than a directory is in the place of the store",
};
