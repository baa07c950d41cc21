/** How many bytes a tree takes on disk; what has several names counts once. */
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { readNames } from "../sys/entries.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";

export function directorySize(path: string): number {
  const seen = new Set<string>();
  const visit = (fd: number): number => {
    let bytes = 0;
    for (const name of readNames(fd)) {
      const found = statx(fd, name);
      if ((found.mode & S_IFMT) === S_IFDIR) {
        using directory = new Fd(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        bytes += visit(directory.fd);
        continue;
      }
      const key = `${found.devMajor}:${found.devMinor}:${found.ino}`;
      if (found.nlink > 1 && seen.has(key)) continue;
      seen.add(key);
      bytes += found.blocks * 512;
    }
    return bytes;
  };
  using root = new Fd(open(path, O_RDONLY | O_DIRECTORY));
  return visit(root.fd);
}
