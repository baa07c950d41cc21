/**
 * The root of the container: its mount, and the change of root at the end.
 * Rules: OCI config.md "Root", config-linux.md "Rootfs Mount Propagation"; pivot_root(2), mount_namespaces(7).
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_PATH,
} from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { PlanBuilder } from "./builder.ts";
import type { PlanParameters } from "./order.ts";

const PROPAGATION: Record<string, { flag: number; recursive: boolean }> = {
  shared: { flag: MS_SHARED, recursive: false },
  rshared: { flag: MS_SHARED, recursive: true },
  slave: { flag: MS_SLAVE, recursive: false },
  rslave: { flag: MS_SLAVE, recursive: true },
  private: { flag: MS_PRIVATE, recursive: false },
  rprivate: { flag: MS_PRIVATE, recursive: true },
  unbindable: { flag: MS_UNBINDABLE, recursive: false },
  runbindable: { flag: MS_UNBINDABLE, recursive: true },
};

/**
 * Layers that the container's process mounts: those of an ordinary user, who has the right to in the container's user
 * namespace alone. Kernel filesystems/overlayfs.rst.
 */
export interface OverlayMount {
  /** Options as "name=value" or "name". */
  options: readonly string[];
  /** Options that name a directory. What is not plain is too long, or has signs that mean something to the kernel. */
  directories: readonly { option: string; path: string; isPlain: boolean }[];
  /** For kernels before 6.8, which mount at a place and take one text; without a text somebody has mounted it there. */
  atPlace: { path: string; data: string | undefined } | undefined;
}

/**
 * Mounts the root file system in the container's mount namespace.
 * @returns the descriptor of the root, to which every later path is confined
 */
export function planRoot(b: PlanBuilder, container: ContainerSpec, parameters: PlanParameters): number {
  if (container.hostMounts) return planSharedRoot(b, container, parameters.rootPlace ?? container.rootfs.path);
  const wanted = PROPAGATION[container.spec.linux?.rootfsPropagation ?? ""];
  // Shared stays shared here, so that what the container mounts below a shared bind reaches the host as asked.
  // A slave still sees what the host mounts later, and nothing of ours goes back.
  const before = wanted && wanted.flag === MS_SHARED ? wanted : { flag: MS_SLAVE, recursive: true };
  if (before.flag !== MS_SHARED) {
    b.add("linux.rootfsPropagation", "mountSetattr", AT_FDCWD, "/", AT_RECURSIVE, 0, 0, before.flag, -1);
  } else {
    // The one mount that ours is put on: shared, it would carry ours to the host.
    b.add("linux.rootfsPropagation", "mountSetattr", AT_FDCWD, parameters.rootParent, 0, 0, 0, MS_PRIVATE, -1);
  }
  let root: number;
  if (parameters.overlay) {
    root = planOverlay(b, parameters.overlay);
  } else if (parameters.rootMounted) {
    root = b.inherit("rootfs");
  } else {
    root = b.newFd();
    b.add("root.path", "openTree", root, AT_FDCWD, container.rootfs.path, AT_RECURSIVE);
  }
  // Not shared: pivot_root(2) refuses such a new root, and nothing mounted in it may reach the host. A slave, if asked
  // for, has to be one of the host's mount already: of a private one nothing can be made a slave.
  const held = wanted?.flag === MS_SLAVE ? MS_SLAVE : MS_PRIVATE;
  b.add("root.path", "mountSetattr", root, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, held, -1);
  const at = b.newFd();
  b.add("root.path", "open", at, container.rootfs.path, O_PATH, 0);
  b.add("root.path", "attach", root, at);
  b.add("root.path", "close", at);
  return root;
}

/** In the mount namespace of the runtime, whose other mounts are left as they are. @returns as planRoot */
function planSharedRoot(b: PlanBuilder, { rootfs }: ContainerSpec, place: string): number {
  const root = b.newFd();
  b.add("root.path", "openTree", root, AT_FDCWD, rootfs.path, AT_RECURSIVE);
  b.add("root.path", "mountSetattr", root, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE, -1);
  const at = b.newFd();
  b.add("root.path", "open", at, place, O_PATH, 0);
  b.add("root.path", "attach", root, at);
  b.add("root.path", "close", at);
  // What is put on a shared mount becomes shared as well: other namespaces would get every mount below.
  b.add("root.path", "mountSetattr", root, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE, -1);
  return root;
}

/** @returns the descriptor of the overlay, mounted nowhere yet */
export function planOverlay(b: PlanBuilder, { options, directories, atPlace }: OverlayMount): number {
  const tree = b.newFd();
  if (atPlace && atPlace.data === undefined) {
    b.add("layers", "openTree", tree, AT_FDCWD, atPlace.path, 0);
    return tree;
  }
  if (atPlace?.data !== undefined) {
    const place = b.newFd();
    b.add("layers", "open", place, atPlace.path, O_PATH, 0);
    b.add("layers", "fchdir", place);
    b.add("layers", "mount", "overlay", ".", "overlay", 0, atPlace.data);
    b.add("layers", "openTree", tree, AT_FDCWD, atPlace.path, 0);
    b.add("layers", "close", place);
    return tree;
  }
  const opened: number[] = [];
  const settings = directories.map(({ option, path, isPlain }) => {
    if (isPlain) return `${option}=${path}`;
    const fd = b.newFd();
    b.add("layers", "open", fd, path, O_PATH, 0);
    opened.push(fd);
    return `${option}=/proc/self/fd/${fd}`;
  });
  b.add("layers", "fsmount", tree, "overlay", 0, ["source=overlay", ...options, ...settings]);
  for (const fd of opened) b.add("layers", "close", fd);
  return tree;
}

/** After the last change below the root: makes it read-only when asked, and changes to it. */
export function planRootEnd(b: PlanBuilder, container: ContainerSpec, parameters: PlanParameters, root: number): void {
  if (container.rootfs.readonly) {
    b.add("root.readonly", "mountSetattr", root, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1);
  }
  if (container.hostMounts) b.add("root.path", "chroot", root);
  else if (container.options.noPivot) planMove(b, container, parameters, root);
  else b.add("root.path", "pivot", root);
  b.add("root.path", "close", root);
}

/** For another process of a container without a mount namespace: descriptor "root". */
export function planChangedRoot(b: PlanBuilder, about: string): void {
  const root = b.inherit("root");
  b.add(about, "chroot", root);
  b.add(about, "close", root);
}

/**
 * The host's mounts stay in the mount namespace, out of sight. A procfs or sysfs among them would let whoever makes a
 * user namespace in the container mount one without our masks: the kernel allows it where one is fully visible already.
 */
function planMove(b: PlanBuilder, container: ContainerSpec, parameters: PlanParameters, root: number): void {
  for (const { path, parent } of parameters.hostKernelMounts) {
    // Where the host's mounts are still shared, what is done here would be done there.
    b.add("--no-pivot", "mountSetattr", AT_FDCWD, parent, 0, 0, 0, MS_PRIVATE, -1);
    b.add("--no-pivot", "mountSetattr", AT_FDCWD, path, AT_RECURSIVE, 0, 0, MS_PRIVATE, -1);
    if (!container.userns) {
      b.add("--no-pivot", "detach", path);
      continue;
    }
    // Those of a more privileged mount namespace are locked: they can be covered only.
    const [cover, at] = [b.newFd(), b.newFd()];
    b.add("--no-pivot", "fsmount", cover, "tmpfs", MOUNT_ATTR_RDONLY, ["source=tmpfs"]);
    b.add("--no-pivot", "open", at, path, O_PATH, 0);
    b.add("--no-pivot", "attach", cover, at);
    b.add("--no-pivot", "close", at);
    b.add("--no-pivot", "close", cover);
  }
  b.add("root.path", "moveRoot", root);
}

/** The propagation the container asked for on its root. */
export function planRootPropagation(b: PlanBuilder, container: ContainerSpec): void {
  const wanted = PROPAGATION[container.spec.linux?.rootfsPropagation ?? ""];
  if (!wanted) return;
  const flags = wanted.recursive ? AT_RECURSIVE : 0;
  b.add("linux.rootfsPropagation", "mountSetattr", AT_FDCWD, "/", flags, 0, 0, wanted.flag, -1);
}
