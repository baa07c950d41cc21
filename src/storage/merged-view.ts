/** Layers as one tree: an overlay, mounted read-only and nowhere, for reading what a container or an image has. */
import { isErrno, TsrunError } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_RDONLY,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  OPEN_TREE_CLONE,
  RESOLVE_NO_SYMLINKS,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { Fd, open, statx } from "../sys/file.ts";
import { mkdirSync, rmdirSync } from "../sys/fs.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen, mount, openTree, umount2 } from "../sys/mount.ts";
import { kernelVersion } from "../sys/process.ts";
import { randomBytes } from "../sys/random.ts";
import type { Statx } from "../sys/structs.ts";
import { hex } from "./link.ts";
import { commonOptions } from "./options.ts";

/** Directories, top first, as one tree. One alone is itself. @param userxattr marks are in user.* attributes */
export function mountView(directories: readonly string[], { userxattr = false } = {}): Fd {
  const [only] = directories;
  if (only === undefined) throw new TsrunError("there is nothing to look at: no layers");
  if (directories.length === 1) return new Fd(open(only, O_PATH | O_DIRECTORY));
  const [major, minor] = kernelVersion();
  if (major < 6 || (major === 6 && minor < 8)) return mountAtPlace(directories, userxattr);
  using context = new Fd(fsopen("overlay"));
  fsconfigSet(context.fd, "source", "overlay");
  for (const [name, value] of viewOptions(userxattr)) fsconfigSet(context.fd, name, value);
  for (const directory of directories) {
    using layer = new Fd(open(directory, O_PATH | O_DIRECTORY));
    addLower(context.fd, layer.fd);
  }
  fsconfigCreate(context.fd, only);
  return new Fd(fsmount(context.fd, MOUNT_ATTR_RDONLY));
}

/** Layers are followed to where they lead, whatever options they were written with; userxattr excludes that. */
function viewOptions(userxattr: boolean): [string, string?][] {
  const options = commonOptions({ userxattr, volatile: false });
  return userxattr ? options : [...options, ["redirect_dir", "follow"], ["metacopy", "on"]];
}

function addLower(context: number, layer: number): void {
  try {
    fsconfigSet(context, "lowerdir+", layer);
  } catch (error) {
    // Linux before 6.13 takes no descriptors here; a path that leads to one it does.
    if (!isErrno(error, "EINVAL", "EOPNOTSUPP")) throw error;
    fsconfigSet(context, "lowerdir+", `/proc/self/fd/${layer}`);
  }
}

/** For kernels before 6.8: mounted at a place for a moment, with names of descriptors, which are short, as layers. */
export function mountAtPlace(directories: readonly string[], userxattr: boolean): Fd {
  const place = makePlace(`tsrun-view-${hex(randomBytes(8))}`);
  const layers: Fd[] = [];
  try {
    for (const directory of directories) layers.push(new Fd(open(directory, O_PATH | O_DIRECTORY)));
    const words = viewOptions(userxattr).map(([name, value]) => (value === undefined ? name : `${name}=${value}`));
    const data = [...words, `lowerdir=${layers.map(({ fd }) => `/proc/self/fd/${fd}`).join(":")}`].join(",");
    mount("overlay", place, "overlay", MS_RDONLY, data);
    try {
      mount(null, place, null, MS_PRIVATE);
      return new Fd(openTree(AT_FDCWD, place, OPEN_TREE_CLONE));
    } finally {
      umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
  } finally {
    for (const layer of layers) layer[Symbol.dispose]();
    rmdirSync(place);
  }
}

/** @returns a new directory; /run is not for root of a user namespace to write */
function makePlace(name: string): string {
  try {
    mkdirSync(`/run/${name}`, { mode: 0o700 });
    return `/run/${name}`;
  } catch (error) {
    const own = process.env.XDG_RUNTIME_DIR;
    if (!isErrno(error, "EACCES") || !own) throw error;
    mkdirSync(`${own}/${name}`, { mode: 0o700 });
    return `${own}/${name}`;
  }
}

/** What a tree has at a path, without following a link anywhere on the way; undefined when there is nothing. */
export function lookIn(root: number, path: Uint8Array): Statx | undefined {
  try {
    using place = new Fd(resolveInRoot(root, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
    return statx(place.fd, "");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}
