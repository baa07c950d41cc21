/** Turns a directory into entries of a tar, in the order of the bytes of their names. */
import { isErrno, TsrunError } from "../errors.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../sys/constants.ts";
import { readNames, statTime } from "../sys/entries.ts";
import { Fd, openat, readlinkat } from "../sys/file.ts";
import type { Statx } from "../sys/structs.ts";
import { getXattrAt, listXattrsAt } from "../sys/xattr.ts";
import { type IdMap, unmappedId, unmappedXattr } from "./id-map.ts";
import { unescapedXattr } from "./overlay-marks.ts";
import { byteName, compareNames, nameBytes, shown, textName } from "./tar/bytes.ts";
import type { EntryType, TarEntry } from "./tar/header.ts";

/** An entry and where its content is. */
export interface Walked {
  entry: TarEntry;
  /** Open directory that holds it, and its name there; only valid until the next one is asked for. */
  parent: number;
  name: Uint8Array;
  found: Statx;
}

export interface WalkOptions {
  /** Times later than this become it: SOURCE_DATE_EPOCH. */
  epoch?: number | undefined;
  /** Ids on disk are those of the archive as this maps them. */
  idMap?: IdMap | undefined;
  /** Ids on disk that the map does not have are those of the archive already: of layers that are mapped where they are mounted. */
  keepsOthers?: boolean | undefined;
}

/** The first name of each file that has several. */
export type HardLinks = Map<string, string>;

const TYPES: Readonly<Record<number, EntryType>> = {
  [S_IFREG]: "file",
  [S_IFDIR]: "directory",
  [S_IFLNK]: "symlink",
  [S_IFCHR]: "char",
  [S_IFBLK]: "block",
  [S_IFIFO]: "fifo",
};

/** Names in a directory, sorted; none when it was deleted since it was opened. */
export function sortedNames(fd: number): string[] {
  return (unlessGone(() => readNames(fd)) ?? []).map(byteName).sort(compareNames);
}

/** Does something with what a container that runs may have deleted by now; undefined then. */
export function unlessGone<T>(task: () => T): T | undefined {
  try {
    return task();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}

/** A directory in another, to be read; undefined when it is gone. */
export function openInner(fd: number, name: Uint8Array): Fd | undefined {
  return unlessGone(() => new Fd(openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)));
}

/** What a name is as an entry; undefined for a socket, which no archive has, and for what is gone. A directory's name ends in "/". */
export function entryOf(...args: Parameters<typeof entryNow>): Walked | undefined {
  return unlessGone(() => entryNow(...args));
}

function entryNow(
  parent: number,
  base: string,
  path: string,
  links: HardLinks,
  options: WalkOptions,
): Walked | undefined {
  const name = nameBytes(base);
  const found = statTime(parent, name);
  const type = TYPES[found.mode & S_IFMT];
  if (type === undefined) return undefined;
  const { idMap, keepsOthers = false, epoch } = options;
  const entry: TarEntry = {
    type,
    name: type === "directory" ? `${path}/` : path,
    linkName: type === "symlink" ? textName(readlinkat(parent, name)) : "",
    mode: found.mode & 0o7777,
    uid: archiveId(found.uid, idMap?.uids, keepsOthers, path),
    gid: archiveId(found.gid, idMap?.gids, keepsOthers, path),
    size: type === "file" ? found.size : 0,
    mtime: { seconds: epoch === undefined ? found.mtime : Math.min(found.mtime, epoch), nanoseconds: 0 },
    devMajor: type === "char" || type === "block" ? found.rdevMajor : 0,
    devMinor: type === "char" || type === "block" ? found.rdevMinor : 0,
    xattrs: xattrsOf(parent, name, idMap, keepsOthers),
  };
  if (type !== "directory" && found.nlink > 1) {
    const key = `${found.devMajor}:${found.devMinor}:${found.ino}`;
    const first = links.get(key);
    if (first !== undefined)
      return { entry: { ...entry, type: "link", linkName: first, size: 0, xattrs: [] }, parent, name, found };
    links.set(key, path);
  }
  return { entry, parent, name, found };
}

function archiveId(id: number, ranges: IdMap["uids"] | undefined, keepsOthers: boolean, path: string): number {
  if (ranges === undefined || ranges.length === 0) return id;
  const own = unmappedId(id, ranges) ?? (keepsOthers ? id : undefined);
  if (own === undefined) throw new TsrunError(`${shown(path)} belongs to ${id}, which is not in the id mapping`);
  return own;
}

/** Attributes that an archive has; POSIX ACLs are such as the kernel gives them, which Go's tools and umoci take, too. */
function xattrsOf(
  parent: number,
  name: Uint8Array,
  idMap: IdMap | undefined,
  keepsOthers: boolean,
): [string, Uint8Array][] {
  const found: [string, Uint8Array][] = [];
  for (const key of listXattrsAt(parent, name)) {
    const kept = unescapedXattr(byteName(key));
    if (kept === undefined || isHosts(kept)) continue;
    const value = getXattrAt(parent, name, key);
    if (value !== undefined)
      found.push([
        kept,
        idMap === undefined ? value : unmappedXattr(kept, value, idMap, keepsOthers ? "keep" : "drop"),
      ]);
  }
  return found;
}

/** Labels of the host's LSM, and ACLs of what file system it has (NFSv4), are none of the image's. */
function isHosts(name: string): boolean {
  if (name.startsWith("system.")) return !name.startsWith("system.posix_acl_");
  return name === "security.selinux" || name === "security.ima";
}

/** A directory and all below it. `path` is its name in the archive, "" for the top, which itself is left out. */
export function* walkTree(fd: number, path: string, links: HardLinks, options: WalkOptions): Generator<Walked> {
  for (const base of sortedNames(fd)) {
    const walked = entryOf(fd, base, path === "" ? base : `${path}/${base}`, links, options);
    if (walked === undefined) continue;
    yield walked;
    if (walked.entry.type !== "directory") continue;
    using directory = openInner(fd, walked.name);
    if (directory === undefined) continue;
    yield* walkTree(directory.fd, path === "" ? base : `${path}/${base}`, links, options);
  }
}
