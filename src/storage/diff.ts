/**
 * What a read-write layer says that has changed. It reads the upper directory alone, and asks the layers below about the
 * names in it: the cost is that of the change.
 * Rules: kernel filesystems/overlayfs.rst (whiteouts, opaque directories, redirect_dir, metacopy).
 */

import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_RDONLY, S_IFCHR, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { Fd, open, statx } from "../sys/file.ts";
import type { Statx } from "../sys/structs.ts";
import { getXattrAt } from "../sys/xattr.ts";
import type { StoreContext } from "./context.ts";
import type { ChangedPath } from "./inspect.ts";
import { lookIn, mountView } from "./merged-view.ts";
import { METACOPY, OPAQUE, REDIRECT, type XattrSpace } from "./overlay-marks.ts";
import { byteName, nameBytes, shown } from "./tar/bytes.ts";
import type { TarEntry } from "./tar/header.ts";
import { type Stack, stackOf } from "./view.ts";
import {
  entryOf,
  type HardLinks,
  openInner,
  sortedNames,
  unlessGone,
  type Walked,
  type WalkOptions,
  walkTree,
} from "./walk.ts";

export function diffContainer({ storageRoot, space }: StoreContext, container: string): ChangedPath[] {
  using layers = new ChangedLayers(stackOf(storageRoot, container), space);
  const changes: ChangedPath[] = [];
  const add = (kind: ChangedPath["kind"], path: string) => changes.push({ kind, path: `/${shown(path)}` });
  for (const change of layers.changes()) add(change.kind, change.path);
  return changes;
}

interface Change {
  kind: ChangedPath["kind"];
  path: string;
}

/** The layers of a container, opened to find out what the topmost changes. */
export class ChangedLayers {
  readonly #space: XattrSpace;
  readonly #stack: Stack;
  readonly #upper: Fd;
  readonly #below: Fd;
  #merged: Fd | undefined;

  constructor(stack: Stack, space: XattrSpace) {
    this.#stack = stack;
    this.#space = space;
    this.#upper = new Fd(open(stack.upper, O_RDONLY | O_DIRECTORY));
    this.#below = mountView(stack.lowers, { userxattr: space === "user.overlay." });
  }

  [Symbol.dispose](): void {
    this.#upper[Symbol.dispose]();
    this.#below[Symbol.dispose]();
    this.#merged?.[Symbol.dispose]();
  }

  /** The tree as the container sees it; needed only where the upper directory does not have it all. */
  get #all(): number {
    this.#merged ??= mountView([this.#stack.upper, ...this.#stack.lowers], {
      userxattr: this.#space === "user.overlay.",
    });
    return this.#merged.fd;
  }

  /** Added, changed and deleted paths, in the order of their bytes within each directory. */
  *changes(): Generator<Change> {
    yield* this.#changesIn(this.#upper.fd, "");
  }

  *#changesIn(fd: number, directory: string): Generator<Change> {
    for (const base of sortedNames(fd)) {
      if (base.startsWith(".wh.")) continue;
      const path = directory === "" ? base : `${directory}/${base}`;
      const name = nameBytes(base);
      const found = unlessGone(() => statx(fd, name));
      if (found === undefined) continue;
      const before = lookIn(this.#below.fd, nameBytes(path));
      if (isWhiteout(found)) {
        if (before !== undefined) yield { kind: "D", path };
        continue;
      }
      yield { kind: before === undefined ? "A" : "C", path };
      if (!isDirectory(found)) continue;
      const isNew = before === undefined || !isDirectory(before);
      if (this.#has(fd, name, REDIRECT)) {
        using moved = new Fd(resolveInRoot(this.#all, nameBytes(path), O_RDONLY | O_DIRECTORY));
        for (const walked of walkTree(moved.fd, path, new Map(), {}))
          yield { kind: "A", path: withoutSlash(walked.entry.name) };
        continue;
      }
      using inner = openInner(fd, name);
      if (inner === undefined) continue;
      if (!isNew && this.#has(fd, name, OPAQUE)) yield* this.#hidden(inner.fd, path);
      yield* this.#changesIn(inner.fd, path);
    }
  }

  /** What an opaque directory hides and does not have itself. */
  *#hidden(fd: number, path: string): Generator<Change> {
    const own = new Set(sortedNames(fd));
    using below = new Fd(resolveInRoot(this.#below.fd, nameBytes(path), O_RDONLY | O_DIRECTORY));
    for (const base of sortedNames(below.fd)) if (!own.has(base)) yield { kind: "D", path: `${path}/${base}` };
  }

  #has(fd: number, name: Uint8Array, mark: string): boolean {
    const value = unlessGone(() => getXattrAt(fd, name, this.#space + mark));
    return value !== undefined && (mark !== OPAQUE || byteName(value) === "y");
  }

  /** The entries of the layer that this change is: whiteouts as OCI has them, renamed directories in full. */
  *entries(options: WalkOptions): Generator<Walked> {
    yield* this.#entriesIn(this.#upper.fd, "", new Map(), options);
  }

  *#entriesIn(fd: number, directory: string, links: HardLinks, options: WalkOptions): Generator<Walked> {
    for (const base of sortedNames(fd)) {
      // In an image such a name would delete another; fuse-overlayfs has some of its own.
      if (base.startsWith(".wh.")) continue;
      const path = directory === "" ? base : `${directory}/${base}`;
      const name = nameBytes(base);
      const found = unlessGone(() => statx(fd, name));
      if (found === undefined) continue;
      if (isWhiteout(found)) {
        const at = directory === "" ? "" : `${directory}/`;
        if (lookIn(this.#below.fd, nameBytes(path)) !== undefined) yield marker(`${at}.wh.${base}`, fd, found);
        continue;
      }
      if (!isDirectory(found) && this.#has(fd, name, METACOPY)) {
        // Only its attributes are here; its content is below, perhaps under another name.
        using parent = new Fd(resolveInRoot(this.#all, nameBytes(directory), O_RDONLY | O_DIRECTORY));
        const walked = entryOf(parent.fd, base, path, links, options);
        if (walked !== undefined) yield walked;
        continue;
      }
      const walked = entryOf(fd, base, path, links, options);
      if (walked === undefined) continue;
      yield walked;
      if (!isDirectory(found)) continue;
      const before = lookIn(this.#below.fd, nameBytes(path));
      const isMoved = this.#has(fd, name, REDIRECT);
      if (before !== undefined && (isMoved || this.#has(fd, name, OPAQUE)))
        yield marker(`${path}/.wh..wh..opq`, fd, found);
      if (isMoved) {
        using moved = new Fd(resolveInRoot(this.#all, nameBytes(path), O_RDONLY | O_DIRECTORY));
        yield* walkTree(moved.fd, path, links, options);
        continue;
      }
      using inner = openInner(fd, name);
      if (inner === undefined) continue;
      yield* this.#entriesIn(inner.fd, path, links, options);
    }
  }
}

/** An empty file that says something is gone. */
function marker(name: string, parent: number, found: Statx): Walked {
  const entry: TarEntry = {
    type: "file",
    name,
    linkName: "",
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  };
  return { entry, parent, name: nameBytes(name), found };
}

function withoutSlash(name: string): string {
  return name.endsWith("/") ? name.slice(0, -1) : name;
}

function isDirectory({ mode }: Statx): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

function isWhiteout({ mode, rdevMajor, rdevMinor }: Statx): boolean {
  return (mode & S_IFMT) === S_IFCHR && rdevMajor === 0 && rdevMinor === 0;
}
