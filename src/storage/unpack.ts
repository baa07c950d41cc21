/**
 * Writes the entries of a layer's tar into a directory, as overlayfs wants a layer: whiteouts become character
 * devices 0:0, opaque directories get their attribute.
 *
 * The tar is hostile. Names are cut into components and ".." is refused; the directory of an entry is resolved by
 * openat2(RESOLVE_IN_ROOT) with the layer as its root and used by descriptor; the entry itself is always made anew
 * (O_EXCL, mknodat, …) and never followed. Nothing outside of the layer can be named.
 * Rules: OCI image-spec layer.md; moby pkg/archive/diff.go for what it leaves open.
 */
import { isErrno } from "../errors.ts";
import { check } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
} from "../sys/constants.ts";
import { pwrite, setTime, truncate } from "../sys/entries.ts";
import {
  close,
  closeQuiet,
  Fd,
  fchmod,
  fchown,
  lchownat,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  openat,
  statx,
  symlinkat,
  unlinkat,
  write,
} from "../sys/file.ts";
import { removeTree } from "../sys/remove.ts";
import type { Statx } from "../sys/structs.ts";
import { setXattr, setXattrAt } from "../sys/xattr.ts";
import { type IdMap, type IdRange, mappedId, mappedXattr } from "./id-map.ts";
import { escapedXattr, OPAQUE, type XattrSpace } from "./overlay-marks.ts";
import { byteName, components, nameBytes, shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";
import type { TarSink } from "./tar/reader.ts";
import {
  aboutEntry,
  chmodByFd,
  isWhiteout,
  nameOrDot,
  notInLayer,
  openDirectory,
  openQuiet,
  statOrNothing,
} from "./unpack-files.ts";

export interface UnpackOptions {
  /** diff directories of the layers below, top first: what an implied directory looks like is taken from there. */
  lowers: readonly string[];
  space: XattrSpace;
  idMap?: IdMap | undefined;
  /** We are not root: owners cannot be given and devices not made. What could not be is counted. */
  unprivileged?: boolean | undefined;
  /** We are root of a user namespace: owners that it does not have cannot be given and devices not made. Counted, too. */
  userns?: boolean | undefined;
  /** It is no layer but a tree: names that would be whiteouts are names. */
  isTree?: boolean | undefined;
}

export class LayerWriter implements TarSink {
  readonly #root: number;
  readonly #options: UnpackOptions;
  readonly #lowers: number[] = [];
  /** The directory of the entry before: entries of one directory mostly follow each other. */
  #parentName: string | undefined;
  #parent = -1;
  #file = -1;
  #piece = 0;
  #pieceDone = 0;
  /** Times of directories: set at the end, because what is put into them changes them. */
  readonly #times = new Map<string, TarEntry["mtime"]>();
  readonly #opaque = new Set<string>();
  readonly #whiteouts: string[] = [];
  readonly #skeleton: ((bytes: Uint8Array) => void) | undefined;
  /** Content of an earlier entry was replaced, so the archive cannot be put together again from this directory. */
  replaced = false;
  /** Bytes of content. */
  size = 0;
  entries = 0;
  /** What could not be kept, and how often: "owner", "device", "xattr security.selinux". */
  readonly lost = new Map<string, number>();

  /** @param directory an empty directory that nobody else writes to */
  constructor(directory: number, options: UnpackOptions, skeleton?: (bytes: Uint8Array) => void) {
    this.#root = directory;
    this.#options = options;
    this.#skeleton = skeleton;
    for (const lower of options.lowers) this.#lowers.push(openDirectory(lower));
  }

  [Symbol.dispose](): void {
    closeQuiet(this.#file);
    closeQuiet(this.#parent);
    for (const fd of this.#lowers) closeQuiet(fd);
    this.#file = -1;
    this.#parent = -1;
    this.#lowers.length = 0;
  }

  skeleton(bytes: Uint8Array): void {
    this.#skeleton?.(bytes);
  }

  entry(entry: TarEntry): void {
    this.entries++;
    try {
      this.#make(entry);
    } catch (error) {
      throw aboutEntry(error, entry);
    }
  }

  data(bytes: Uint8Array): void {
    if (this.#file === -1) return;
    this.size += bytes.length;
    if (this.#pieces === undefined) {
      write(this.#file, bytes, shown(this.#current?.name ?? ""));
      return;
    }
    let rest = bytes;
    while (rest.length > 0) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) throw new TarError("a sparse file has more content than its map");
      const part = rest.subarray(0, piece.length - this.#pieceDone);
      pwrite(this.#file, part, piece.offset + this.#pieceDone);
      this.#pieceDone += part.length;
      rest = rest.subarray(part.length);
      if (this.#pieceDone === piece.length) {
        this.#piece++;
        this.#pieceDone = 0;
      }
    }
  }

  end(entry: TarEntry): void {
    if (this.#file === -1) return;
    const fd = this.#file;
    try {
      if (entry.sparse !== undefined) truncate(fd, entry.sparse.size);
      this.#dress(fd, entry);
      check(setTime(fd, "", entry.mtime), "utimensat", shown(entry.name));
    } catch (error) {
      throw aboutEntry(error, entry);
    } finally {
      this.#file = -1;
      close(fd);
    }
  }

  /** Mode and owner of the top, where the archive has no entry for it. */
  dressTop(fd: number, mode: number, uid: number, gid: number): void {
    if (!this.#options.unprivileged) fchown(fd, uid, gid);
    fchmod(fd, mode & 0o7777);
  }

  /** To be called when the archive is over. */
  finish(): void {
    // An opaque directory hides all that is below it anyway, and the kernel would list whiteouts in it as files.
    for (const path of this.#whiteouts) {
      const cut = path.lastIndexOf("/");
      const directory = cut === -1 ? "" : path.slice(0, cut);
      if (!this.#opaque.has(directory) && this.#isBelow(directory)) continue;
      const parent = this.#open(directory.split("/"));
      const name = nameBytes(path.slice(cut + 1));
      if (isWhiteout(statOrNothing(parent, name))) unlinkat(parent, name);
    }
    for (const [path, time] of [...this.#times].reverse()) {
      // What came after may have put something else in its place.
      using directory = openQuiet(this.#root, path);
      if (directory !== undefined) check(setTime(directory.fd, "", time), "utimensat", shown(path));
    }
  }

  #pieces: readonly { offset: number; length: number }[] | undefined;
  #current: TarEntry | undefined;

  #make(entry: TarEntry): void {
    const parts = components(entry.name);
    if (parts === undefined) throw new TarError('its name has ".." in it');
    if (parts.length === 0) {
      if (entry.type !== "directory") throw new TarError("it is no directory, but has the name of the top");
      this.#dressDirectory(this.#root, entry, "");
      return;
    }
    const base = parts.pop() as string;
    if (base.startsWith(".wh.") && !this.#options.isTree) {
      this.#whiteout(parts, base.slice(4));
      return;
    }
    const parent = this.#open(parts);
    const name = nameBytes(base);
    const path = parts.length === 0 ? base : `${parts.join("/")}/${base}`;
    if (entry.type === "directory") this.#directory(parent, name, path, entry);
    else if (entry.type === "file") this.#startFile(parent, name, entry);
    else this.#special(parent, name, entry);
  }

  /** The directory of an entry, made where it is not there, as it looks in the layers below. */
  #open(parts: readonly string[]): number {
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

  #dressImplied(fd: number, path: string): void {
    const shape = this.#below(path);
    if (shape === undefined || (shape.mode & S_IFMT) !== S_IFDIR) return;
    if (this.#options.unprivileged !== true) fchown(fd, shape.uid, shape.gid);
    using place = new Fd(openat(fd, ".", O_RDONLY | O_DIRECTORY));
    fchmod(place.fd, shape.mode & 0o7777);
  }

  /** What the layers below have under a name; their whiteouts hide what is further down. */
  #below(path: string): Statx | undefined {
    for (const lower of this.#lowers) {
      using found = openQuiet(lower, path, O_PATH | O_NOFOLLOW);
      if (found !== undefined) return statx(found.fd, "");
    }
    return undefined;
  }

  #isBelow(path: string): boolean {
    if (path === "") return this.#lowers.length > 0;
    const found = this.#below(path);
    return found !== undefined && (found.mode & S_IFMT) === S_IFDIR;
  }

  #whiteout(parts: readonly string[], name: string): void {
    if (name === ".wh..opq") {
      const parent = this.#open(parts);
      this.#markOpaque(parent);
      this.#opaque.add(parts.join("/"));
      return;
    }
    // Of aufs itself: hard links and orphans that are none of ours.
    if (name.startsWith(".wh.")) return;
    if (name === "" || name === "." || name === "..")
      throw new TarError(`it would delete ${name === "" ? "nothing" : JSON.stringify(name)}`);
    const parent = this.#open(parts);
    const bytes = nameBytes(name);
    const there = statOrNothing(parent, bytes);
    if (there === undefined) {
      mknodat(parent, bytes, S_IFCHR, 0);
      this.#whiteouts.push([...parts, name].join("/"));
    } else if ((there.mode & S_IFMT) === S_IFDIR) {
      // It is about what lies below this layer; what this layer has of that name stays.
      using directory = new Fd(openat(parent, bytes, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      this.#markOpaque(directory.fd);
    }
  }

  #markOpaque(fd: number): void {
    const name = nameBytes(this.#options.space + OPAQUE);
    check(setXattrAt(fd, nameBytes("."), name, nameBytes("y")), "setxattr", byteName(name));
  }

  #directory(parent: number, name: Uint8Array, path: string, entry: TarEntry): void {
    const there = statOrNothing(parent, name);
    let covers = false;
    if (there !== undefined && (there.mode & S_IFMT) !== S_IFDIR) {
      covers = isWhiteout(there);
      if (!covers) this.replaced = true;
      unlinkat(parent, name);
    }
    if (there === undefined || (there.mode & S_IFMT) !== S_IFDIR) mkdirat(parent, name, 0o700);
    using directory = new Fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (covers) this.#markOpaque(directory.fd);
    this.#dressDirectory(directory.fd, entry, path);
  }

  #dressDirectory(fd: number, entry: TarEntry, path: string): void {
    this.#dress(fd, entry);
    this.#times.delete(path);
    this.#times.set(path, entry.mtime);
  }

  #startFile(parent: number, name: Uint8Array, entry: TarEntry): void {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    this.#current = entry;
    this.#pieces = entry.sparse?.pieces.filter(({ length }) => length > 0);
    this.#piece = 0;
    this.#pieceDone = 0;
    try {
      this.#file = openat(parent, name, flags, 0o600);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      this.#clear(parent, name);
      this.#file = openat(parent, name, flags, 0o600);
    }
  }

  /** Removes what an earlier entry, or a whiteout, has put there. */
  #clear(parent: number, name: Uint8Array): void {
    const there = statOrNothing(parent, name);
    if (there === undefined) return;
    if (!isWhiteout(there)) this.replaced = true;
    if ((there.mode & S_IFMT) !== S_IFDIR) {
      unlinkat(parent, name);
      return;
    }
    removeTree(parent, name);
  }

  #special(parent: number, name: Uint8Array, entry: TarEntry): void {
    if (entry.type === "link") {
      this.#link(parent, name, entry);
      return;
    }
    const there = statOrNothing(parent, name);
    if (there !== undefined) this.#clear(parent, name);
    if (entry.type === "symlink") symlinkat(nameBytes(entry.linkName), parent, name);
    else if (!this.#device(parent, name, entry)) return;
    const uid = this.#id(entry.uid, this.#options.idMap?.uids);
    const gid = this.#id(entry.gid, this.#options.idMap?.gids);
    this.#own(uid, gid, () => lchownat(parent, name, uid, gid));
    if (entry.type !== "symlink") {
      // After chown(2), which takes setuid and setgid off; a device is not opened for it.
      using place = new Fd(openat(parent, name, O_PATH | O_NOFOLLOW));
      chmodByFd(place.fd, entry.mode);
    }
    for (const [key, value] of entry.xattrs) {
      this.#kept(key, setXattrAt(parent, name, this.#xattrName(key), this.#mapped(key, value)));
    }
    check(setTime(parent, name, entry.mtime), "utimensat");
  }

  #device(parent: number, name: Uint8Array, entry: TarEntry): boolean {
    const type = entry.type === "char" ? S_IFCHR : entry.type === "block" ? S_IFBLK : S_IFIFO;
    try {
      mknodat(parent, name, type | 0o600, entry.type === "fifo" ? 0 : makedev(entry.devMajor, entry.devMinor));
      return true;
    } catch (error) {
      const { unprivileged, userns } = this.#options;
      if (!(unprivileged || userns) || !isErrno(error, "EPERM")) throw error;
      this.#count("device", true);
      return false;
    }
  }

  #link(parent: number, name: Uint8Array, entry: TarEntry): void {
    const target = components(entry.linkName);
    if (target === undefined) throw new TarError('it is a hard link to a name with ".." in it');
    const base = target.pop();
    if (base === undefined) throw new TarError("it is a hard link to the top");
    let from: number;
    try {
      from = resolveInRoot(this.#root, nameOrDot(target.join("/")), O_PATH | O_DIRECTORY);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      throw notInLayer(entry);
    }
    using _from = new Fd(from);
    const there = statOrNothing(from, nameBytes(base));
    if (there === undefined || isWhiteout(there)) throw notInLayer(entry);
    const old = statOrNothing(parent, name);
    if (old !== undefined) {
      if (old.ino === there.ino) return; // a link to itself
      this.#clear(parent, name);
    }
    linkat(from, nameBytes(base), parent, name);
  }

  /** Owner, mode and attributes, in this order: chown(2) takes away setuid bits and capabilities. */
  #dress(fd: number, entry: TarEntry): void {
    const uid = this.#id(entry.uid, this.#options.idMap?.uids);
    const gid = this.#id(entry.gid, this.#options.idMap?.gids);
    this.#own(uid, gid, () => fchown(fd, uid, gid));
    fchmod(fd, entry.mode);
    for (const [key, value] of entry.xattrs)
      this.#kept(key, setXattr(fd, this.#xattrName(key), this.#mapped(key, value)));
  }

  #own(uid: number, gid: number, chown: () => void): void {
    if (this.#options.unprivileged) {
      this.#count("owner", uid !== 0 || gid !== 0);
      return;
    }
    try {
      chown();
    } catch (error) {
      // An id that this namespace does not have.
      if (!this.#options.userns || !isErrno(error, "EINVAL")) throw error;
      this.#count("owner", true);
    }
  }

  #xattrName(key: string): Uint8Array {
    return nameBytes(escapedXattr(key));
  }

  #mapped(key: string, value: Uint8Array): Uint8Array {
    const { idMap } = this.#options;
    return idMap === undefined ? value : mappedXattr(key, value, idMap);
  }

  /** An attribute that this filesystem or this user cannot have is left out, and counted. */
  #kept(key: string, result: number): void {
    if (result === -95 || result === -1 || result === -13) this.#count(`xattr ${shown(key)}`, true);
    else check(result, "setxattr", shown(key));
  }

  #count(what: string, isLost: boolean): void {
    if (isLost) this.lost.set(what, (this.lost.get(what) ?? 0) + 1);
  }

  #id(id: number, ranges: readonly IdRange[] | undefined): number {
    if (ranges === undefined || ranges.length === 0) return id;
    const mapped = mappedId(id, ranges);
    if (mapped === undefined) throw new TarError(`its owner ${id} is not in the id mapping`);
    return mapped;
  }
}
