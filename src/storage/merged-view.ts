/** Layers as one tree: an overlay, mounted read-only and nowhere, for reading what a container or an image has. */
import { isErrno, TsrunError } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { MOUNT_ATTR_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS } from "../sys/constants.ts";
import { Fd, open, statx } from "../sys/file.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen } from "../sys/mount.ts";
import type { Statx } from "../sys/structs.ts";
import { commonOptions } from "./options.ts";

/** Directories, top first, as one tree. One alone is itself. @param userxattr marks are in user.* attributes */
export function mountView(directories: readonly string[], { userxattr = false } = {}): Fd {
  const [only] = directories;
  if (only === undefined) throw new TsrunError("there is nothing to look at: no layers");
  if (directories.length === 1) return new Fd(open(only, O_PATH | O_DIRECTORY));
  using context = new Fd(fsopen("overlay"));
  fsconfigSet(context.fd, "source", "overlay");
  for (const [name, value] of commonOptions({ userxattr, volatile: false })) fsconfigSet(context.fd, name, value);
  // Whatever options the layers were written with; userxattr excludes these.
  if (!userxattr) {
    fsconfigSet(context.fd, "redirect_dir", "follow");
    fsconfigSet(context.fd, "metacopy", "on");
  }
  for (const directory of directories) {
    using layer = new Fd(open(directory, O_PATH | O_DIRECTORY));
    addLower(context.fd, layer.fd);
  }
  fsconfigCreate(context.fd, directories[0] as string);
  return new Fd(fsmount(context.fd, MOUNT_ATTR_RDONLY));
}

function addLower(context: number, layer: number): void {
  try {
    fsconfigSet(context, "lowerdir+", layer);
  } catch (error) {
    // Linux before 6.13 takes no descriptors here; a path that leads to one it does.
    if (!isErrno(error, "EINVAL")) throw error;
    fsconfigSet(context, "lowerdir+", `/proc/self/fd/${layer}`);
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
