/**
 * The few ways in which the store touches files: whole writes by rename, directories with an exact mode
 * whatever the umask is, reads that answer `undefined` for what is not there.
 */
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { isErrno } from "../errors.ts";

export interface Owner {
  uid: number;
  gid: number;
}

/** Writes a file that is whole or absent: a killed writer leaves a temporary file, which the next one replaces. */
export function writeWhole(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, text, { mode: 0o644 });
  renameSync(temporary, path);
}

/** Makes a directory; returns false when there is one already. Nothing is done to that one. */
export function makeDirectory(path: string, mode: number, owner?: Owner): boolean {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
  // mkdir(2) takes the umask off, and an owner of its own may not look in then.
  chmodSync(path, mode);
  return true;
}

/** The content of a small text file, `undefined` when it does not exist. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
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
