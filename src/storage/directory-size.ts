/** How many bytes a tree takes on disk; what has several names counts once, and what is deleted meanwhile not at all. */
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { readNames } from "../sys/entries.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";
import { unlessGone } from "./walk.ts";

export function directorySize(path: string): number {
  const seen = new Set<string>();
  const visit = (fd: number): number => {
    let bytes = 0;
    for (const name of unlessGone(() => readNames(fd)) ?? []) bytes += unlessGone(() => sizeOf(fd, name)) ?? 0;
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
  const whole = unlessGone(() => {
    using root = new Fd(open(path, O_RDONLY | O_DIRECTORY));
    return visit(root.fd);
  });
  return whole ?? 0;
}
