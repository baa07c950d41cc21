/**
 * Masked and read-only paths.
 * Rules: OCI config-linux.md "Masked Paths", "Readonly Paths".
 */
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, O_PATH } from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { PlanBuilder } from "./builder.ts";

export function planMasks(b: PlanBuilder, container: ContainerSpec, root: number): void {
  const { readonlyPaths = [], maskedPaths = [] } = container.spec.linux ?? {};
  for (const path of readonlyPaths ?? []) b.add("linux.readonlyPaths", "readonly", root, path);
  if (!maskedPaths || maskedPaths.length === 0) return;
  // The masking objects are ours, not the container's: the host's null device, checked, and one empty file system.
  const nullFd = b.newFd();
  b.add("linux.maskedPaths", "open", nullFd, "/dev/null", O_PATH, 0);
  b.add("linux.maskedPaths", "checkNull", nullFd);
  const emptyFd = b.newFd();
  const attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  b.add("linux.maskedPaths", "fsmount", emptyFd, "tmpfs", attrs, [
    "source=tmpfs",
    "size=4k",
    "nr_inodes=2",
    "mode=755",
  ]);
  for (const path of maskedPaths) b.add("linux.maskedPaths", "mask", root, path, nullFd, emptyFd);
  b.add("linux.maskedPaths", "close", nullFd);
  b.add("linux.maskedPaths", "close", emptyFd);
}
