/** The directories of a layer that is being unpacked: found or made by name, each by a descriptor that cannot leave the layer. */
import { isErrno } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { closeQuiet, Fd, fchmod, fchown, mkdirat, openat, statx } from "../sys/file.ts";
import type { Statx } from "../sys/structs.ts";
import { nameBytes } from "./tar/bytes.ts";
import { nameOrDot, openDirectory, openQuiet } from "./unpack-files.ts";

export class LayerDirectories {
  readonly #root: number;
  readonly #unprivileged: boolean;
  readonly #lowers: number[] = [];
  /** The directory of the entry before: entries of one directory mostly follow each other. */
  #parentName: string | undefined;
  #parent = -1;

  /** @param lowers diff directories of the layers below, top first */
  constructor(root: number, lowers: readonly string[], unprivileged: boolean) {
    this.#root = root;
    this.#unprivileged = unprivileged;
    for (const lower of lowers) this.#lowers.push(openDirectory(lower));
  }

  [Symbol.dispose](): void {
    closeQuiet(this.#parent);
    for (const fd of this.#lowers) closeQuiet(fd);
    this.#parent = -1;
    this.#lowers.length = 0;
  }

  /** The directory of an entry, made where it is not there, as it looks in the layers below. */
  open(parts: readonly string[]): number {
    const name = parts.join("/");
    if (name === this.#parentName) return this.#parent;
    let fd: number;
    try {
      fd = resolveInRoot(this.#root, nameOrDot(name), O_PATH | O_DIRECTORY);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      fd = this.#imply(parts);
    }
    closeQuiet(this.#parent);
    this.#parent = fd;
    this.#parentName = name;
    return fd;
  }

  #imply(parts: readonly string[]): number {
    let at = openat(this.#root, ".", O_PATH | O_DIRECTORY);
    try {
      for (let i = 0; i < parts.length; i++) {
        const path = parts.slice(0, i + 1).join("/");
        let next: number;
        try {
          next = resolveInRoot(this.#root, nameOrDot(path), O_PATH | O_DIRECTORY);
        } catch (error) {
          if (!isErrno(error, "ENOENT")) throw error;
          const name = nameBytes(parts[i] as string);
          mkdirat(at, name, 0o755);
          next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
          this.#dressImplied(next, path);
        }
        closeQuiet(at);
        at = next;
      }
      return at;
    } catch (error) {
      closeQuiet(at);
      throw error;
    }
  }

  /** As a layer below has it; else as everybody makes one, whatever the umask is. */
  #dressImplied(fd: number, path: string): void {
    const found = this.#below(path);
    const shape = found !== undefined && (found.mode & S_IFMT) === S_IFDIR ? found : undefined;
    if (shape !== undefined && !this.#unprivileged) fchown(fd, shape.uid, shape.gid);
    using place = new Fd(openat(fd, ".", O_RDONLY | O_DIRECTORY));
    fchmod(place.fd, (shape?.mode ?? 0o755) & 0o7777);
  }

  /** What the layers below have under a name; their whiteouts hide what is further down. */
  #below(path: string): Statx | undefined {
    for (const lower of this.#lowers) {
      using found = openQuiet(lower, path, O_PATH | O_NOFOLLOW);
      if (found !== undefined) return statx(found.fd, "");
    }
    return undefined;
  }

  isBelow(path: string): boolean {
    if (path === "") return this.#lowers.length > 0;
    const found = this.#below(path);
    return found !== undefined && (found.mode & S_IFMT) === S_IFDIR;
  }
}
