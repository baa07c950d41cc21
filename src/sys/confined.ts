/** Paths inside a root that is not trusted: resolved by the kernel, confined to it, and used by descriptor. */

import { isErrno } from "../errors.ts";
import { failure, type PathArg } from "./call.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "./constants.ts";
import { Fd, mkdirat, openat, openat2 } from "./file.ts";

const EINVAL = 22;

/**
 * Opens a path as it looks to a process whose root is `rootFd`: symlinks and `..` stay inside.
 *
 * @param resolve further RESOLVE_* flags
 */
export function resolveInRoot(rootFd: number, path: PathArg, flags: number = O_PATH, resolve = 0): number {
  return openat2(rootFd, path.length === 0 ? "." : path, {
    flags,
    resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
  });
}

/**
 * Makes a directory inside a root with the parents it lacks, and opens it (O_PATH).
 * What exists is resolved as resolveInRoot does; below that, each component is made and entered
 * by descriptor, and one that turns out to be a link is refused.
 */
export function mkdirAllBeneath(rootFd: number, path: string, mode = 0o755): number {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  let existing = names.length;
  let current: Fd | undefined;
  while (current === undefined) {
    try {
      current = new Fd(resolveInRoot(rootFd, names.slice(0, existing).join("/"), O_PATH | O_DIRECTORY));
    } catch (error) {
      if (!isErrno(error, "ENOENT") || existing === 0) throw error;
      existing--;
    }
  }
  try {
    for (const name of names.slice(existing)) {
      // Above a directory that was not there: the caller cannot mean what the kernel would make of it.
      if (name === "..") throw failure("mkdir", EINVAL, path);
      try {
        mkdirat(current.fd, name, mode);
      } catch (error) {
        // Somebody else made it meanwhile.
        if (!isErrno(error, "EEXIST")) throw error;
      }
      const next = new Fd(openat(current.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      current[Symbol.dispose]();
      current = next;
    }
    return current.release();
  } finally {
    current[Symbol.dispose]();
  }
}
