/** The few ways in which the store touches files. */
import { isErrno, SyscallError, TsrunError } from "../errors.ts";
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

/**
 * An error of what writes to the store with what is known to help; any other error as it is. A relative path is one in a layer.
 */
export function withStoreFix(error: unknown, storageRoot: string): unknown {
  const cause = callOf(error);
  if (cause === undefined || !(error instanceof TsrunError) || error.fix !== undefined) return error;
  const path = cause.path ?? "";
  const fix = (path.startsWith("/") ? FIXES : FULL)[cause.code];
  if (fix === undefined || (path.startsWith("/") && !path.startsWith(storageRoot))) return error;
  if (error === cause) return new SyscallError(cause.operation, cause.code, { path, cause: cause.cause, fix });
  return new TsrunError(error.message, { cause: error, fix });
}

/** The system call that an error comes from. */
function callOf(error: unknown): SyscallError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof SyscallError) return at;
  return undefined;
}

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: "make room on the filesystem of the store",
  EDQUOT: "make room in the quota of the store's owner",
  EROFS: "the store needs a filesystem that can be written",
};

const FIXES: Readonly<Record<string, string>> = {
  ...FULL,
  EACCES: "the store belongs to another user",
  ENOTDIR: "something else than a directory is in the place of the store",
};
