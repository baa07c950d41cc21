/**
 * Copies a directory as it is: owners, modes, times, hard links, devices (whiteouts are some), every attribute (the marks
 * of overlayfs among them). The content of files is shared where the filesystem can (FICLONE: btrfs, xfs).
 */
import { check, utf8Text } from "../sys/call.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../sys/constants.ts";
import { pread, readNames, reflink, setTime, statTime, truncate } from "../sys/entries.ts";
import {
  Fd,
  fchmod,
  fchown,
  lchownat,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  openat,
  readlinkat,
  symlinkat,
  write,
} from "../sys/file.ts";
import { chmodSync } from "../sys/fs.ts";
import { getXattrAt, listXattrsAt, setXattrAt } from "../sys/xattr.ts";
import { type IdMap, mappedId, mappedXattr, OVERFLOW_ID } from "./id-map.ts";

const DOT = new Uint8Array([0x2e]);

/**
 * @param to an empty directory, which gets the owner, the mode and the attributes of `from` too
 * @param map ids of `from` as the copy is to have them
 */
export function copyTree(from: number, to: number, map?: IdMap): void {
  copyInto(from, to, to, new Map(), [], map);
  dress(from, DOT, to, DOT, map);
}

/** Names of files that have several: where the first of them was copied to, as a path below the top. */
type Links = Map<string, Uint8Array[]>;

function copyInto(
  from: number,
  to: number,
  top: number,
  links: Links,
  path: readonly Uint8Array[],
  map: IdMap | undefined,
): void {
  for (const name of readNames(from)) {
    const found = statTime(from, name);
    const type = found.mode & S_IFMT;
    const key = `${found.devMajor}:${found.devMinor}:${found.ino}`;
    const first = type === S_IFDIR || found.nlink < 2 ? undefined : links.get(key);
    if (first !== undefined) {
      linkFirst(top, first, to, name);
      continue;
    }
    if (found.nlink > 1 && type !== S_IFDIR) links.set(key, [...path, name]);
    if (type === S_IFDIR) {
      mkdirat(to, name, 0o700);
      using source = new Fd(openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      using target = new Fd(openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      copyInto(source.fd, target.fd, top, links, [...path, name], map);
    } else if (type === S_IFREG) copyContent(from, to, name, found.size);
    else if (type === S_IFLNK) symlinkat(readlinkat(from, name), to, name);
    else mknodat(to, name, type, makedev(found.rdevMajor, found.rdevMinor));
    dress(from, name, to, name, map);
  }
}

function linkFirst(top: number, first: readonly Uint8Array[], to: number, name: Uint8Array): void {
  let directory = new Fd(openat(top, ".", O_PATH | O_DIRECTORY));
  try {
    for (const part of first.slice(0, -1)) {
      const next = new Fd(openat(directory.fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW));
      directory[Symbol.dispose]();
      directory = next;
    }
    linkat(directory.fd, first.at(-1) as Uint8Array, to, name);
  } finally {
    directory[Symbol.dispose]();
  }
}

function copyContent(from: number, to: number, name: Uint8Array, size: number): void {
  using source = new Fd(openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  using target = new Fd(openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  if (reflink(source.fd, target.fd) === 0) return;
  const buffer = new Uint8Array(1 << 18);
  let at = 0;
  for (;;) {
    const count = pread(source.fd, buffer, at);
    if (count === 0) break;
    write(target.fd, buffer.subarray(0, count), name);
    at += count;
  }
  // A file that shrank meanwhile has the length that it was said to have, as a sparse one.
  if (at < size) truncate(target.fd, size);
}

function dress(from: number, name: Uint8Array, to: number, target: Uint8Array, map: IdMap | undefined): void {
  const found = statTime(from, name);
  const { mode, mtime, mtimeNs } = found;
  const uid = map === undefined ? found.uid : (mappedId(found.uid, map.uids) ?? OVERFLOW_ID);
  const gid = map === undefined ? found.gid : (mappedId(found.gid, map.gids) ?? OVERFLOW_ID);
  const isLink = (mode & S_IFMT) === S_IFLNK;
  if (target === DOT) fchown(to, uid, gid);
  else lchownat(to, target, uid, gid);
  if (target === DOT) fchmod(to, mode & 0o7777);
  else if (!isLink) {
    using place = new Fd(openat(to, target, O_PATH | O_NOFOLLOW));
    chmodSync(`/proc/self/fd/${place.fd}`, mode & 0o7777);
  }
  for (const key of listXattrsAt(from, name)) {
    const value = getXattrAt(from, name, key);
    if (value === undefined) continue;
    const own = map === undefined ? value : mappedXattr(utf8Text(key), value, map);
    check(setXattrAt(to, target, key, own), "setxattr", key);
  }
  check(setTime(to, target, { seconds: mtime, nanoseconds: mtimeNs }), "utimensat", target);
}
