/** How many bytes a tree takes on disk; what has several names counts once, and what is deleted meanwhile not at all. */
import { isErrno } from "../errors.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { readNames } from "../sys/entries.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";

export function directorySize(path: string): number {
  const seen = new Set<string>();
  const visit = (fd: number): number => {
    let bytes = 0;
    for (const name of readNames(fd)) bytes += unlessGone(() => sizeOf(fd, name));
    return bytes;
  };
  const sizeOf = (parent: number, name: Uint8Array): number => {
    const found = statx(parent, name);
    if ((found.mode & S_IFMT) === S_IFDIR) {
      using directory = new Fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      return visit(directory.fd);
    }
    const key = `${found.devMajor}:${found.devMinor}:${found.ino}`;
    if (found.nlink > 1 && seen.has(key)) return 0;
    seen.add(key);
    return found.blocks * 512;
  };
  return unlessGone(() => {
    using root = new Fd(open(path, O_RDONLY | O_DIRECTORY));
    return visit(root.fd);
  });
}

/** A container that runs changes its layer while it is measured. */
function unlessGone(measure: () => number): number {
  try {
    return measure();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return 0;
    throw error;
  }
}
