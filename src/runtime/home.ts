/**
 * The home directory of a container's user, from the container's own /etc/passwd.
 * Rules: passwd(5); runc and crun set HOME so when the environment has none.
 */

import { isErrno } from "../errors.ts";
import { utf8Text } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_NONBLOCK, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, read } from "../sys/file.ts";

/** More than any real passwd file: an image may hold anything under that name. */
const MAX_BYTES = 1 << 20;

/** @param rootFd the container's root directory @returns "/" when there is no entry */
export function homeDirectory(rootFd: number, uid: number): string {
  for (const line of readPasswd(rootFd).split("\n")) {
    const fields = line.split(":");
    if (fields[2] === String(uid) && fields[5]?.startsWith("/")) return fields[5];
  }
  return "/";
}

function readPasswd(rootFd: number): string {
  let fd: number;
  try {
    // Non-blocking: a fifo of that name must not hold us.
    fd = resolveInRoot(rootFd, "etc/passwd", O_RDONLY | O_NONBLOCK);
  } catch (error) {
    // No file, no directory, a link to nowhere or something that is no regular file: no entry.
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "EACCES", "ENXIO", "EISDIR")) return "";
    throw error;
  }
  try {
    const buffer = new Uint8Array(MAX_BYTES);
    return utf8Text(buffer.subarray(0, read(fd, buffer)));
  } catch (error) {
    // A directory is opened and not read, and a fifo or a device has nothing yet.
    if (isErrno(error, "EISDIR", "EAGAIN", "EINVAL")) return "";
    throw error;
  } finally {
    closeQuiet(fd);
  }
}
