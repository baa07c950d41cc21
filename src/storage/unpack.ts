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
import { setTime } from "../sys/entries.ts";
import { Fd, fchmod, fchown, linkat, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat } from "../sys/file.ts";
import { removeTree } from "../sys/remove.ts";
import { setXattrAt } from "../sys/xattr.ts";
import type { IdMap } from "./id-map.ts";
import { OPAQUE, type XattrSpace } from "./overlay-marks.ts";
import { byteName, components, nameBytes, shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";
import type { TarSink } from "./tar/reader.ts";
import { LateAcls } from "./unpack-acls.ts";
import { EntryAttributes } from "./unpack-attributes.ts";
import { FileContent } from "./unpack-content.ts";
import { LayerDirectories } from "./unpack-directories.ts";
import { aboutEntry, isWhiteout, nameOrDot, notInLayer, openQuiet, statOrNothing } from "./unpack-files.ts";

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
  readonly #directories: LayerDirectories;
  readonly #attributes: EntryAttributes;
  readonly #acls = new LateAcls();
  readonly #content = new FileContent();
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

  /** @param directory an empty directory that nobody else writes to */
  constructor(directory: number, options: UnpackOptions, skeleton?: (bytes: Uint8Array) => void) {
    this.#root = directory;
    this.#options = options;
    this.#skeleton = skeleton;
    this.#attributes = new EntryAttributes(options);
    this.#directories = new LayerDirectories(directory, options.lowers, options.unprivileged === true);
  }

  [Symbol.dispose](): void {
    this.#content[Symbol.dispose]();
    this.#directories[Symbol.dispose]();
  }

  /** What could not be kept, and how often: "owner", "device", "xattr security.selinux". */
  get lost(): ReadonlyMap<string, number> {
    return this.#attributes.lost;
  }

  skeleton(bytes: Uint8Array): void {
    this.#skeleton?.(bytes);
  }

  entry(entry: TarEntry): void {
    this.entries++;
    try {
      this.#make(entry);
      if (entry.type !== "file") this.#acls.made(this.#root, entry);
    } catch (error) {
      throw aboutEntry(error, entry);
    }
  }

  data(bytes: Uint8Array): void {
    if (this.#content.fd === -1) return;
    this.size += bytes.length;
    this.#content.write(bytes);
  }

  end(entry: TarEntry): void {
    const { fd } = this.#content;
    if (fd === -1) return;
    try {
      this.#content.stretch(entry);
      this.#attributes.dress(fd, entry);
      this.#acls.made(this.#root, entry);
      check(setTime(fd, "", entry.mtime), "utimensat", shown(entry.name));
    } catch (error) {
      throw aboutEntry(error, entry);
    } finally {
      this.#content.close();
    }
  }

  /** Mode and owner of the top, where the archive has no entry for it. */
  dressTop(fd: number, mode: number, uid: number, gid: number): void {
    if (!this.#options.unprivileged) fchown(fd, uid, gid);
    fchmod(fd, mode & 0o7777);
  }

  /** To be called when the archive is over. */
  finish(): void {
    this.#acls.finish(this.#root, this.#options.lowers, this.#attributes);
    // An opaque directory hides all that is below it anyway, and the kernel would list whiteouts in it as files.
    for (const path of this.#whiteouts) {
      const cut = path.lastIndexOf("/");
      const directory = cut === -1 ? "" : path.slice(0, cut);
      if (!this.#opaque.has(directory) && this.#directories.isBelow(directory)) continue;
      const parent = this.#directories.open(directory.split("/"));
      const name = nameBytes(path.slice(cut + 1));
      if (isWhiteout(statOrNothing(parent, name))) unlinkat(parent, name);
    }
    for (const [path, time] of [...this.#times].reverse()) {
      // What came after may have put something else in its place.
      using directory = openQuiet(this.#root, path);
      if (directory !== undefined) check(setTime(directory.fd, "", time), "utimensat", shown(path));
    }
  }

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
    const parent = this.#directories.open(parts);
    const name = nameBytes(base);
    const path = parts.length === 0 ? base : `${parts.join("/")}/${base}`;
    if (entry.type === "directory") this.#directory(parent, name, path, entry);
    else if (entry.type === "file") this.#startFile(parent, name, entry);
    else this.#special(parent, name, entry);
  }

  #whiteout(parts: readonly string[], name: string): void {
    if (name === ".wh..opq") {
      const parent = this.#directories.open(parts);
      this.#markOpaque(parent);
      this.#opaque.add(parts.join("/"));
      return;
    }
    // Of aufs itself: hard links and orphans that are none of ours.
    if (name.startsWith(".wh.")) return;
    if (name === "" || name === "." || name === "..")
      throw new TarError(`it would delete ${name === "" ? "nothing" : JSON.stringify(name)}`);
    const parent = this.#directories.open(parts);
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
    this.#attributes.dress(fd, entry);
    this.#times.delete(path);
    this.#times.set(path, entry.mtime);
  }

  #startFile(parent: number, name: Uint8Array, entry: TarEntry): void {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let fd: number;
    try {
      fd = openat(parent, name, flags, 0o600);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      this.#clear(parent, name);
      fd = openat(parent, name, flags, 0o600);
    }
    this.#content.start(fd, entry);
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
    this.#attributes.dressName(parent, name, entry);
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
      this.#attributes.count("device", true);
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
}
