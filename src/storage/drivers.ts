/**
 * How a root filesystem of layers is put together. overlay2 is the kernel's overlayfs (mount.ts) and the default; these
 * are for where it cannot be used. A driver gets the directories that prepareRootfs made, and gives a detached mount.
 */
import { StateError, SyscallError, TsrunError } from "../errors.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_PRIVATE,
  O_DIRECTORY,
  O_RDONLY,
  OPEN_TREE_CLONE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { Fd, open } from "../sys/file.ts";
import { existsSync } from "../sys/fs.ts";
import { runHelper } from "../sys/helper.ts";
import { mountSetattr, openTree, umount2 } from "../sys/mount.ts";
import { removeTree } from "../sys/remove.ts";
import { copyTree } from "./copy-tree.ts";
import { makeVisible, writeText } from "./files.ts";
import { escapeLower } from "./link.ts";
import { mountView } from "./merged-view.ts";
import type { Overlay } from "./options.ts";

export const DRIVERS: readonly string[] = ["overlay2", "vfs", "fuse-overlayfs"];

export interface Driver {
  /** A descriptor of the detached mount of the root; the caller closes it. `home` is overlay2/<mount id>. */
  mount(home: string, overlay: Overlay): number;
}

/** @throws StateError for a name that is none of DRIVERS */
export function driverNamed(name: string): Driver {
  if (name === "vfs") return vfs;
  if (name === "fuse-overlayfs") return fuseOverlayfs;
  throw new StateError(`there is no storage driver ${JSON.stringify(name)}`, { fix: `use ${DRIVERS.join(", ")}` });
}

/**
 * A copy of all the layers: for a store on a file system that cannot be an upper layer, such as another overlay or NFS.
 * Costs the time and the room of the image for each container.
 */
const vfs: Driver = {
  mount(home, { lowers, userxattr }) {
    if (!existsSync(`${home}/copied`)) copyLayers(home, lowers, userxattr);
    const tree = openTree(AT_FDCWD, `${home}/diff`, OPEN_TREE_CLONE);
    mountSetattr(tree, "", 0, { propagation: MS_PRIVATE });
    return tree;
  },
};

function copyLayers(home: string, lowers: readonly string[], userxattr: boolean): void {
  removeTree(home, "diff"); // of one that was killed in the middle
  makeVisible(`${home}/diff`, 0o755);
  using view = mountView(lowers, { userxattr });
  using from = new Fd(open(`/proc/self/fd/${view.fd}`, O_RDONLY | O_DIRECTORY));
  using to = new Fd(open(`${home}/diff`, O_RDONLY | O_DIRECTORY));
  copyTree(from.fd, to.fd);
  writeText(`${home}/copied`, "1");
}

/** What fuse-overlayfs is told. @throws SyscallError for what cannot be told to it */
export function fuseOptions({ lowers, upper, work }: Overlay): string {
  if ([...lowers, upper, work].some((path) => path.includes(","))) {
    const fix = "a comma in the path of a layer cannot be told to it";
    throw new SyscallError("mount fuse-overlayfs", "EINVAL", { path: upper, fix });
  }
  return `lowerdir=${lowers.map(escapeLower).join(":")},upperdir=${upper},workdir=${work}`;
}

/** Overlayfs in a process: for kernels that do not let this user mount the real one. */
const fuseOverlayfs: Driver = {
  mount(home, overlay) {
    const merged = `${home}/merged`;
    const options = fuseOptions(overlay);
    try {
      runHelper("fuse-overlayfs", ["-o", options, merged], "fuse-overlayfs");
    } catch (cause) {
      throw new TsrunError(`mount fuse-overlayfs ${merged}`, { cause, fix: "it needs /dev/fuse" });
    }
    try {
      const tree = openTree(AT_FDCWD, merged, OPEN_TREE_CLONE);
      mountSetattr(tree, "", 0, { propagation: MS_PRIVATE });
      return tree;
    } finally {
      // Its process ends when the container's mounts are gone, too.
      umount2(merged, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
  },
};
