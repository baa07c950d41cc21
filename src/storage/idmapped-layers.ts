/**
 * Layers as a user namespace sees them, without a copy and without chown(2): each is cloned and its clone idmapped, so
 * that what belongs to 0 on disk belongs to the container's root. Linux 5.19 takes such a mount as a lower layer.
 * Rules: mount_setattr(2) "ID-mapped mounts"; kernel filesystems/overlayfs.rst.
 */
import { SyscallError, TsrunError } from "../errors.ts";
import { AT_FDCWD, MNT_DETACH, MOUNT_ATTR_IDMAP, OPEN_TREE_CLONE, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { Fd } from "../sys/file.ts";
import { mkdirSync, rmdirSync } from "../sys/fs.ts";
import { mountSetattr, moveMount, openTree, umount2 } from "../sys/mount.ts";
import { makeDirectory } from "./files.ts";

export interface IdmapRequest {
  /** Directories of layers, and which of them to map. */
  lowers: readonly string[];
  isMapped: readonly boolean[];
  userns: number;
  /** Where they are mounted for a moment, on kernels that take no detached mount as a layer; undefined on others. */
  places: string | undefined;
}

/** Gives `use` the paths of the layers, mapped; they are valid as long as it runs. */
export function withIdmapped<T>({ lowers, isMapped, userns, places }: IdmapRequest, use: (paths: string[]) => T): T {
  const clones: Fd[] = [];
  const mounted: string[] = [];
  try {
    const paths = lowers.map((lower, i) => {
      if (!isMapped[i]) return lower;
      const clone = new Fd(openTree(AT_FDCWD, lower, OPEN_TREE_CLONE));
      clones.push(clone);
      map(clone.fd, lower, userns);
      if (places === undefined) return `/proc/self/fd/${clone.fd}`;
      const place = `${places}/${i}`;
      makeDirectory(places, 0o700);
      mkdirSync(place, { mode: 0o700 });
      mounted.push(place);
      moveMount(clone.fd, "", AT_FDCWD, place);
      return place;
    });
    return use(paths);
  } finally {
    for (const place of mounted) unmount(place);
    if (places !== undefined && mounted.length > 0) rmdirSync(places);
    for (const clone of clones) clone[Symbol.dispose]();
  }
}

/** The layers can only be copied. */
export class NotIdmappable extends TsrunError {}

function map(clone: number, lower: string, userns: number): void {
  try {
    mountSetattr(clone, "", 0, { set: MOUNT_ATTR_IDMAP, usernsFd: userns });
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.code === "EINVAL") throw new NotIdmappable(`the file system of ${lower} has no idmapped mounts`);
    throw new SyscallError("map the ids of", error.code, {
      path: lower,
      cause: error,
      fix: "overlay option noidmap leaves the ids as they are",
    });
  }
}

/** Overlayfs has clones of its own by now. */
function unmount(place: string): void {
  try {
    umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW);
  } finally {
    rmdirSync(place);
  }
}
