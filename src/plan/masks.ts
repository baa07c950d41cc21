/**
 * Masked and read-only paths.
 * Rules: OCI config-linux.md "Masked Paths", "Readonly Paths".
 */
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  makedev,
  O_PATH,
  S_IFCHR,
} from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { PlanBuilder } from "./builder.ts";
import { type Anchor, isBelow } from "./mounts.ts";

/**
 * A path below a mount of the plan is found through the descriptor of that mount: whoever can write to the rootfs may
 * have renamed the directory under it, and put another in its place.
 *
 * @param anchors of planMounts; closed here
 */
export function planMasks(b: PlanBuilder, container: ContainerSpec, root: number, anchors: readonly Anchor[]): void {
  const { readonlyPaths, maskedPaths } = container.spec.linux ?? {};
  for (const path of readonlyPaths ?? []) b.add("linux.readonlyPaths", "readonly", ...placeOf(path, root, anchors));
  if (maskedPaths && maskedPaths.length > 0) maskAll(b, maskedPaths, root, anchors);
  for (const { fd } of anchors) b.add("linux.maskedPaths", "close", fd);
}

/** The innermost mount that holds a path, and the path in it; the root when there is none. */
function placeOf(path: string, root: number, anchors: readonly Anchor[]): [fd: number, path: string] {
  if (path.split("/").includes("..")) return [root, path];
  let best: Anchor | undefined;
  for (const anchor of anchors) {
    if (isBelow(path, anchor.destination) && anchor.destination.length >= (best?.destination.length ?? 0))
      best = anchor;
  }
  return best === undefined ? [root, path] : [best.fd, path.slice(best.destination.length) || "/"];
}

function maskAll(b: PlanBuilder, maskedPaths: readonly string[], root: number, anchors: readonly Anchor[]): void {
  // The masking objects are ours, not the container's: the host's null device, checked, and one empty file system.
  const nullFd = b.newFd();
  b.add("linux.maskedPaths", "open", nullFd, "/dev/null", O_PATH, 0);
  b.add("linux.maskedPaths", "checkDevice", nullFd, S_IFCHR, makedev(1, 3));
  const emptyFd = b.newFd();
  const attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  b.add("linux.maskedPaths", "fsmount", emptyFd, "tmpfs", attrs, [
    "source=tmpfs",
    "size=4k",
    "nr_inodes=2",
    "mode=755",
  ]);
  for (const path of maskedPaths) {
    b.add("linux.maskedPaths", "mask", ...placeOf(path, root, anchors), nullFd, emptyFd);
  }
  b.add("linux.maskedPaths", "close", nullFd);
  b.add("linux.maskedPaths", "close", emptyFd);
}
