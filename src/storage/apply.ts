/**
 * Takes the entries of a layer over into a tree that is in use. Each file is written beside its place and renamed over
 * it, so that whoever reads it sees the old one or the new one. Every name is resolved beneath the tree, without links.
 */
import { isErrno, TsrunError } from "../errors.ts";
import { check } from "../sys/call.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
} from "../sys/constants.ts";
import { pread, readNames, setTime } from "../sys/entries.ts";
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
  openat2,
  renameat,
  symlinkat,
  unlinkat,
  write,
} from "../sys/file.ts";
import { chmodSync } from "../sys/fs.ts";
import { randomBytes } from "../sys/random.ts";
import { removeTree } from "../sys/remove.ts";
import { removeXattrAt, setXattr, setXattrAt } from "../sys/xattr.ts";
import { ACL_ACCESS, ACL_DEFAULT } from "./id-map.ts";
import { hex } from "./link.ts";
import { components, nameBytes, shown } from "./tar/bytes.ts";
import type { TarEntry } from "./tar/header.ts";
import { statOrNothing } from "./unpack-files.ts";
import type { Walked } from "./walk.ts";

/** @returns how many entries were taken over @throws SyscallError EXDEV when a mount is in the way of a removal */
export function applyEntries(root: number, entries: Iterable<Walked>): number {
  let count = 0;
  const times: { path: string; entry: TarEntry }[] = [];
  for (const walked of entries) {
    count++;
    const parts = components(walked.entry.name);
    const base = parts?.pop();
    if (parts === undefined || base === undefined)
      throw new TsrunError(`${shown(walked.entry.name)} is no name of an entry`);
    try {
      applyEntry(root, parts, base, walked);
    } catch (error) {
      throw new TsrunError(`/${shown([...parts, base].join("/"))}`, { cause: error });
    }
    if (walked.entry.type === "directory") times.push({ path: [...parts, base].join("/"), entry: walked.entry });
  }
  for (const { path, entry } of times.reverse()) {
    using directory = new Fd(openBeneath(root, path.split("/")));
    check(setTime(directory.fd, "", entry.mtime), "utimensat", shown(path));
  }
  return count;
}

function applyEntry(root: number, parts: readonly string[], base: string, walked: Walked): void {
  using parent = new Fd(openBeneath(root, parts));
  if (base === ".wh..wh..opq") emptyDirectory(parent.fd);
  else if (base.startsWith(".wh.")) removeTree(parent.fd, nameBytes(base.slice(4)));
  else if (walked.entry.type === "directory") makeDirectory(parent.fd, nameBytes(base), walked.entry);
  else replace(root, parent.fd, nameBytes(base), walked);
}

function openBeneath(root: number, parts: readonly string[]): number {
  const path = parts.length === 0 ? "." : nameBytes(parts.join("/"));
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return openat2(root, path, { flags: O_PATH | O_DIRECTORY, resolve });
}

function emptyDirectory(fd: number): void {
  using directory = new Fd(openat(fd, ".", O_RDONLY | O_DIRECTORY));
  for (const name of readNames(directory.fd)) removeTree(directory.fd, name);
}

function makeDirectory(parent: number, name: Uint8Array, entry: TarEntry): void {
  const there = statOrNothing(parent, name);
  if (there !== undefined && (there.mode & S_IFMT) !== S_IFDIR) unlinkat(parent, name);
  if (there === undefined || (there.mode & S_IFMT) !== S_IFDIR) mkdirat(parent, name, 0o700);
  using directory = new Fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  fchown(directory.fd, entry.uid, entry.gid);
  dropInherited(parent, name, [ACL_ACCESS, ACL_DEFAULT]);
  fchmod(directory.fd, entry.mode);
  for (const [key, value] of entry.xattrs) check(setXattr(directory.fd, nameBytes(key), value), "setxattr", shown(key));
}

function replace(root: number, parent: number, name: Uint8Array, walked: Walked): void {
  const { entry } = walked;
  const temporary = nameBytes(`.tsrun-${hex(randomBytes(8))}`);
  try {
    if (entry.type === "file") copyFile(parent, temporary, walked);
    else if (entry.type === "link") linkTo(root, parent, temporary, entry);
    else makeSpecial(parent, temporary, entry);
    const there = statOrNothing(parent, name);
    if (there !== undefined && (there.mode & S_IFMT) === S_IFDIR) removeTree(parent, name);
    renameat(parent, temporary, parent, name);
    // Two names of one file: then rename(2) does nothing.
    unlinkIfThere(parent, temporary);
  } catch (error) {
    unlinkIfThere(parent, temporary);
    throw error;
  }
}

function unlinkIfThere(parent: number, name: Uint8Array): void {
  try {
    unlinkat(parent, name);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function copyFile(parent: number, temporary: Uint8Array, { entry, parent: from, name }: Walked): void {
  using target = new Fd(openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  using source = new Fd(openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const buffer = new Uint8Array(1 << 18);
  for (let at = 0; ; ) {
    const count = pread(source.fd, buffer, at);
    if (count === 0) break;
    write(target.fd, buffer.subarray(0, count));
    at += count;
  }
  fchown(target.fd, entry.uid, entry.gid);
  dropInherited(parent, temporary, [ACL_ACCESS]);
  fchmod(target.fd, entry.mode);
  for (const [key, value] of entry.xattrs) check(setXattr(target.fd, nameBytes(key), value), "setxattr", shown(key));
  check(setTime(target.fd, "", entry.mtime), "utimensat");
}

/** ACLs that come from the default one of the directory: the command wrote to another file system, and had them there. */
function dropInherited(parent: number, name: Uint8Array, acls: readonly string[]): void {
  for (const acl of acls) removeXattrAt(parent, name, acl);
}

function linkTo(root: number, parent: number, temporary: Uint8Array, entry: TarEntry): void {
  const parts = components(entry.linkName) ?? [];
  const base = parts.pop() ?? "";
  using directory = new Fd(openBeneath(root, parts));
  linkat(directory.fd, nameBytes(base), parent, temporary);
}

function makeSpecial(parent: number, temporary: Uint8Array, entry: TarEntry): void {
  if (entry.type === "symlink") symlinkat(nameBytes(entry.linkName), parent, temporary);
  else {
    const type = entry.type === "char" ? S_IFCHR : entry.type === "block" ? S_IFBLK : S_IFIFO;
    mknodat(parent, temporary, type | 0o600, entry.type === "fifo" ? 0 : makedev(entry.devMajor, entry.devMinor));
  }
  lchownat(parent, temporary, entry.uid, entry.gid);
  if (entry.type !== "symlink") {
    using place = new Fd(openat(parent, temporary, O_PATH | O_NOFOLLOW));
    chmodSync(`/proc/self/fd/${place.fd}`, entry.mode);
  }
  for (const [key, value] of entry.xattrs)
    check(setXattrAt(parent, temporary, nameBytes(key), value), "setxattr", shown(key));
  check(setTime(parent, temporary, entry.mtime), "utimensat");
}
