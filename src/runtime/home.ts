/**
 * The home directory of a container's user, from the container's own /etc/passwd.
 * Rules: passwd(5); runc and crun set HOME so when the environment has none.
 */

import { isErrno } from "../errors.ts";
import { isBelow, isBind } from "../plan/mounts.ts";
import { parseMountOptions } from "../spec/mount-options.ts";
import type { Mount } from "../spec/types.ts";
import { utf8Text } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_PATH, O_RDONLY, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { closeQuiet, Fd, open, read, statx } from "../sys/file.ts";

/** More than any real passwd file: an image may hold anything under that name. */
const MAX_BYTES = 1 << 20;

/** @param rootFd the container's root directory @returns "/" when there is no entry */
export function homeDirectory(rootFd: number, uid: number): string {
  return homeOf(readPasswd(rootFd) ?? "", uid);
}

/** As homeDirectory, of a root that is not mounted yet. @param directories of its layers, top first */
export function homeInLayers(directories: readonly string[], uid: number): string {
  for (const directory of directories) {
    using root = new Fd(open(directory, O_PATH | O_DIRECTORY));
    const text = readPasswd(root.fd);
    if (text !== undefined) return homeOf(text, uid);
  }
  return "/";
}

/**
 * As homeDirectory, where a mount of config.json brings the file or hides it: the last one that lies over it.
 *
 * @returns undefined when none does, and the file is the root's
 */
export function homeInMounts(mounts: readonly Mount[] | undefined, uid: number): string | undefined {
  for (const mount of [...(mounts ?? [])].reverse()) {
    const destination = mount.destination.replace(/\/+$/, "");
    if (!isBelow(PASSWD, destination)) continue;
    const options = parseMountOptions(mount.options);
    // What was there is there still.
    if (options.remount || options.copyUp) continue;
    if (!isBind(mount, options)) return "/";
    return homeOf(readBound(mount.source ?? "", PASSWD.slice(destination.length + 1)), uid);
  }
  return undefined;
}

const PASSWD = "/etc/passwd";

/** @param rest what lies in the source, "" when the source is the file */
function readBound(source: string, rest: string): string {
  try {
    using from = new Fd(open(source, O_PATH));
    if (rest === "") return readRegular(from.fd);
    using file = new Fd(resolveInRoot(from.fd, rest));
    return readRegular(file.fd);
  } catch {
    // What is wrong with the source the mount will say.
    return "";
  }
}

function homeOf(passwd: string, uid: number): string {
  for (const line of passwd.split("\n")) {
    const fields = line.split(":");
    if (fields[2] === String(uid) && fields[5]?.startsWith("/")) return fields[5];
  }
  return "/";
}

/** @returns undefined when there is no such file */
function readPasswd(rootFd: number): string | undefined {
  let fd: number;
  try {
    fd = resolveInRoot(rootFd, "etc/passwd");
  } catch (error) {
    // No file, no directory, a link to nowhere: no entry.
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "EACCES")) return undefined;
    throw error;
  }
  try {
    return readRegular(fd);
  } finally {
    closeQuiet(fd);
  }
}

/** Looked at before it is opened: to open a device can be a deed of its own, and a fifo would hold us. */
function readRegular(fd: number): string {
  if ((statx(fd, "").mode & S_IFMT) !== S_IFREG) return "";
  return readFile(open(`/proc/self/fd/${fd}`, O_RDONLY));
}

function readFile(fd: number): string {
  try {
    const buffer = new Uint8Array(MAX_BYTES);
    return utf8Text(buffer.subarray(0, read(fd, buffer)));
  } finally {
    closeQuiet(fd);
  }
}
