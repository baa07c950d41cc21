/**
 * The mounts of config.json, in its order, each made as a detached tree and attached by descriptor.
 * Rules: OCI config.md "Mounts", config-linux.md; mount(8), open_tree(2), mount_setattr(2), fsopen(2).
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  CLONE_NEWCGROUP,
  FS_MAGIC,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_REC,
} from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { mountContextType } from "../spec/crun.ts";
import { mountMappings } from "../spec/idmap.ts";
import { type MountOptions, MS, needsMount2, parseMountOptions } from "../spec/mount-options.ts";
import type { Linux, Mount, Spec } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";
import type { CgroupView, PlanParameters } from "./order.ts";
import { AWAIT } from "./step.ts";

/** What a target must be, or is made as: values of the `target` op. */
const KIND = { exists: 0, directory: 1, file: 2, likeDescriptor: 3 } as const;
/** Flags of the `target` op. */
const NO_SYMLINKS = 1;
const LINK_ITSELF = 4;

/** A mount whose descriptor stays open, so that what lies below it is found through it and not by its path. */
export interface Anchor {
  /** As config.json has it, without a slash at its end. */
  destination: string;
  fd: number;
}

/** File systems of the container's own whose files have the label that the mount gives them. */
const LABELLED_TYPES = ["tmpfs", "devpts"];
const KERNEL_TYPES = ["proc", "sysfs", "devpts", "mqueue"];
const KERNEL_PLACES = ["/proc", "/sys", "/dev"];

/** @returns the mounts that hold a masked or read-only path; whoever uses them closes them */
export function planMounts(
  b: PlanBuilder,
  container: ContainerSpec,
  parameters: PlanParameters,
  root: number,
): Anchor[] {
  const mounts = container.spec.mounts ?? [];
  const { maskedPaths, readonlyPaths } = container.spec.linux ?? {};
  const restricted = [...(maskedPaths ?? []), ...(readonlyPaths ?? [])];
  let anchors: Anchor[] = [];
  mounts.forEach((mount, i) => {
    const about = `mounts[${i}] ${mount.destination}`;
    const options = parseMountOptions(mount.options ?? []);
    // What is made in /dev comes after its mount: it becomes read-only when all of it is there (planDevEnd).
    if (isReadOnlyDev(mount, options)) options.attrSet &= ~MOUNT_ATTR_RDONLY;
    labelFilesystem(mount, options, container.spec);
    if (options.remount) {
      planRemount(b, about, mount, options, root);
      return;
    }
    const destination = mount.destination.replace(/\/+$/, "");
    // What is mounted over others hides them: they are no way to anything any more.
    for (const { fd } of anchors.filter((anchor) => isBelow(anchor.destination, destination))) {
      b.add(about, "close", fd);
    }
    anchors = anchors.filter((anchor) => !isBelow(anchor.destination, destination));
    const link = parameters.sourceLinks.get(i);
    if (link !== undefined) {
      b.add(about, "symlink", root, link, mount.destination, 1);
      return;
    }
    let tree: number | undefined;
    const idmapped = mountMappings(mount, container.spec.linux ?? {}, options) !== undefined;
    if (mount.type === "cgroup" || mount.type === "cgroup2") {
      planCgroupMount(b, about, mount, options, container, parameters, root);
    } else if (isBind(mount, options)) {
      let opened = idmapped ? b.inherit(`tree:${i}`) : undefined;
      if (parameters.farSources.includes(i)) opened = planFarSource(b, about, options);
      tree = planBind(b, about, mount, options, root, opened);
    } else {
      tree = planFilesystem(b, about, mount, options, root, idmapped ? b.inherit(`userns:${i}`) : undefined);
    }
    if (tree === undefined) return;
    if (restricted.some((path) => isBelow(path, destination))) anchors.push({ destination, fd: tree });
    else b.add(about, "close", tree);
  });
  // A working directory that the image lacks is made, as runc does, while the root can still be written.
  const cwd = container.spec.process?.cwd;
  if (cwd && cwd !== "/") b.add("process.cwd", "close", targetOf(b, "process.cwd", root, cwd, "directory"));
  return anchors;
}

export function isBind(mount: Mount, { bind }: MountOptions): boolean {
  return bind || mount.type === "bind";
}

/** Adds the label that files of the container's own file systems have. */
export function labelFilesystem(
  mount: Mount,
  options: MountOptions,
  { linux, annotations }: { linux?: Linux; annotations?: Spec["annotations"] | undefined },
): void {
  const label = linux?.mountLabel;
  if (!label || !LABELLED_TYPES.includes(mount.type ?? "")) return;
  options.data.push(`${mountContextType(annotations)}=${label}`);
}

function isReadOnlyDev(mount: Mount, { attrSet, bind }: MountOptions): boolean {
  return !bind && mount.destination.replace(/\/+$/, "") === "/dev" && (attrSet & MOUNT_ATTR_RDONLY) !== 0;
}

/** After the devices, links and mounts in it: a /dev that was asked to be read-only. */
export function planDevEnd(b: PlanBuilder, container: ContainerSpec, root: number): void {
  const asked = container.spec.mounts?.some((mount) => isReadOnlyDev(mount, parseMountOptions(mount.options)));
  if (!asked) return;
  const fd = targetOf(b, "mounts /dev", root, "/dev", "exists", NO_SYMLINKS);
  b.add("mounts /dev", "mountSetattr", fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1);
  b.add("mounts /dev", "close", fd);
}

/** Is it this directory, or does it lie below? Both as they are written: the directory has no slash at its end. */
export function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

/** Opens a place below the root, made when missing. @returns its descriptor */
export function targetOf(
  b: PlanBuilder,
  about: string,
  root: number,
  path: string,
  kind: "exists" | "directory" | "file",
  flags = 0,
): number {
  const fd = b.newFd();
  b.add(about, "target", fd, root, path, KIND[kind], 0, flags);
  return fd;
}

/** A source that the runtime opens, in this mount namespace. @returns its tree */
function planFarSource(b: PlanBuilder, about: string, { rbind }: MountOptions): number {
  const source = b.newFd();
  b.add(about, "receive", AWAIT.SOURCE, source);
  const tree = b.newFd();
  b.add(about, "openTree", tree, source, "", AT_EMPTY_PATH | (rbind ? AT_RECURSIVE : 0));
  b.add(about, "close", source);
  return tree;
}

/** @param opened the tree, when it is there already, as one with mapped ids is @returns the descriptor of the mount */
export function planBind(
  b: PlanBuilder,
  about: string,
  mount: Mount,
  options: MountOptions,
  root: number,
  opened: number | undefined,
): number {
  const tree = opened ?? b.newFd();
  const flags = (options.rbind ? AT_RECURSIVE : 0) | (options.keepSourceLink ? AT_SYMLINK_NOFOLLOW : 0);
  if (opened === undefined) b.add(about, "openTree", tree, AT_FDCWD, mount.source ?? "", flags);
  setAttributes(b, about, tree, options);
  const target = b.newFd();
  b.add(about, "target", target, root, mount.destination, KIND.likeDescriptor, tree, linkFlags(mount, options));
  finish(b, about, tree, target, options);
  return tree;
}

/** @param userns whose ids are the file system's, when they are mapped @returns the descriptor of the mount */
export function planFilesystem(
  b: PlanBuilder,
  about: string,
  mount: Mount,
  options: MountOptions,
  root: number,
  userns: number | undefined,
): number {
  const type = mount.type ?? "none";
  const target = targetOf(b, about, root, mount.destination, "directory", linkFlags(mount, options));
  const place = { root, path: mount.destination, target, userns };
  const tree = makeFilesystem(b, about, type, mount.source ?? type, options, place);
  // Masks, labels and terminals go by these paths: had somebody renamed a directory meanwhile, it would lie elsewhere.
  const magic = FS_MAGIC[type];
  if (magic !== undefined) b.add(about, "checkMount", tree, magic, root, mount.destination);
  return tree;
}

/**
 * An image that puts a link in the place of the kernel's own files is refused: masks, read-only paths, terminals and
 * LSM labels rely on where they are.
 */
function linkFlags({ type = "", destination }: Mount, { keepTargetLink }: MountOptions): number {
  const isKernels = KERNEL_TYPES.includes(type) || KERNEL_PLACES.includes(destination.replace(/\/+$/, ""));
  if (isKernels) return NO_SYMLINKS;
  return keepTargetLink ? LINK_ITSELF : 0;
}

/** Where a mount goes: a path below the root, and the descriptor that it was opened as. */
interface Place {
  root: number;
  path: string;
  target: number;
  /** A user namespace whose ids the mount shows. */
  userns?: number | undefined;
}

/** A new file system of this type at a place. @returns the descriptor of the mount */
function makeFilesystem(
  b: PlanBuilder,
  about: string,
  type: string,
  source: string,
  options: MountOptions,
  place: Place,
): number {
  const { target } = place;
  // As mount(2) has it, read-only is for the superblock too: but for cgroups, whose superblock is the host's, and
  // tmpfs, which runc makes read-only as a mount alone.
  const isReadOnly = (options.attrSet & MOUNT_ATTR_RDONLY) !== 0 && type !== "tmpfs" && !type.startsWith("cgroup");
  const settings = [`source=${source}`, ...(isReadOnly ? ["ro"] : []), ...options.superFlags, ...options.data];
  if (needsMount2(options, source)) {
    // mount(2) names its target by path: "." is the target, whatever it is called by now.
    b.add(about, "fchdir", target);
    b.add(about, "mount", source, ".", type, options.msFlags, options.data.join(","));
    b.add(about, "close", target);
    // What mount(2) has no flags for is set on the mount, which lies at the destination now.
    const top = targetOf(b, about, place.root, place.path, "directory");
    setRecursive(b, about, top, options);
    propagate(b, about, top, options);
    return top;
  }
  const tree = b.newFd();
  // A tmpfs over a directory of the image takes its mode, unless the options say another.
  const like = type === "tmpfs" && !options.data.some((word) => word.startsWith("mode=")) ? target : -1;
  // What is read-only takes no copy: it becomes so afterwards.
  const attributes = options.copyUp ? options.attrSet & ~MOUNT_ATTR_RDONLY : options.attrSet;
  if (like === -1) b.add(about, "fsmount", tree, type, attributes, settings);
  else b.add(about, "fsmountLike", tree, type, attributes, settings, like);
  if (options.copyUp) {
    b.add(about, "copyTree", target, tree);
    const readOnly = options.attrSet & MOUNT_ATTR_RDONLY;
    if (readOnly !== 0) b.add(about, "mountSetattr", tree, "", AT_EMPTY_PATH, readOnly, 0, 0, -1);
  }
  if (place.userns !== undefined) {
    b.add(about, "mountSetattr", tree, "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, place.userns);
    b.add(about, "close", place.userns);
  }
  setRecursive(b, about, tree, options);
  finish(b, about, tree, target, options);
  return tree;
}

export function planRemount(b: PlanBuilder, about: string, mount: Mount, options: MountOptions, root: number): void {
  const target = targetOf(b, about, root, mount.destination, "exists", options.keepTargetLink ? LINK_ITSELF : 0);
  if (options.bind || (options.superFlags.length === 0 && options.data.length === 0)) {
    setAttributes(b, about, target, options);
  } else {
    // What is for the superblock goes by mount(2), which sets the flags of the mount anew as well.
    b.add(about, "fchdir", target);
    const { source = "none", type = "" } = mount;
    b.add(about, "mount", source, ".", type, options.msFlags | MS.REMOUNT, options.data.join(","));
    setRecursive(b, about, target, options);
  }
  propagate(b, about, target, options);
  b.add(about, "close", target);
}

/** Only what the options name is set or cleared; everything else stays as the source has it. */
function setAttributes(b: PlanBuilder, about: string, fd: number, options: MountOptions): void {
  const { attrSet, attrClear } = options;
  if (attrSet !== 0 || attrClear !== 0) {
    b.add(about, "mountSetattr", fd, "", AT_EMPTY_PATH, attrSet, attrClear, 0, -1);
  }
  setRecursive(b, about, fd, options);
}

function setRecursive(b: PlanBuilder, about: string, fd: number, { recSet, recClear }: MountOptions): void {
  if (recSet === 0 && recClear === 0) return;
  b.add(about, "mountSetattr", fd, "", AT_EMPTY_PATH | AT_RECURSIVE, recSet, recClear, 0, -1);
}

/** The descriptor of the mount stays open. */
function finish(b: PlanBuilder, about: string, tree: number, target: number, options: MountOptions): void {
  b.add(about, "attach", tree, target);
  propagate(b, about, tree, options);
  b.add(about, "close", target);
}

function propagate(b: PlanBuilder, about: string, tree: number, options: MountOptions): void {
  for (const propagation of options.propagation) {
    const flags = AT_EMPTY_PATH | ((propagation & MS_REC) !== 0 ? AT_RECURSIVE : 0);
    b.add(about, "mountSetattr", tree, "", flags, 0, 0, propagation & ~MS_REC, -1);
  }
}

/**
 * A mount of type cgroup. On v2 it is one file system; on v1 a tmpfs with a directory for each hierarchy. In a new
 * cgroup namespace fresh mounts show the container's cgroup as the root; without one its own directories are bound.
 */
function planCgroupMount(
  b: PlanBuilder,
  about: string,
  mount: Mount,
  options: MountOptions,
  container: ContainerSpec,
  parameters: PlanParameters,
  root: number,
): void {
  const { cgroupViews } = parameters;
  const fresh = (container.namespaces.create & CLONE_NEWCGROUP) !== 0;
  const target = targetOf(b, about, root, mount.destination, "directory", NO_SYMLINKS);
  const [unified] = cgroupViews;
  if (container.host.cgroup === "v2" && unified) {
    mountView(b, about, unified, "cgroup2", fresh, options, { root, path: mount.destination, target });
    return;
  }
  const tree = b.newFd();
  const attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  b.add(about, "fsmount", tree, "tmpfs", attrs, ["source=tmpfs", "mode=755"]);
  b.add(about, "attach", tree, target);
  for (const view of cgroupViews) {
    const path = `${mount.destination}/${view.name}`;
    const at = targetOf(b, about, root, path, "directory", NO_SYMLINKS);
    mountView(b, `${about}/${view.name}`, view, "cgroup", fresh, options, { root, path, target: at });
    // The usual names for hierarchies that hold several controllers.
    const names = view.name.split(",");
    if (names.length > 1) {
      for (const name of names) b.add(about, "symlink", root, view.name, `${mount.destination}/${name}`, 0);
    }
  }
  if ((options.attrSet & MOUNT_ATTR_RDONLY) !== 0) {
    b.add(about, "mountSetattr", tree, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0, 0, -1);
  }
  b.add(about, "close", target);
  b.add(about, "close", tree);
}

function mountView(
  b: PlanBuilder,
  about: string,
  view: CgroupView,
  type: string,
  fresh: boolean,
  options: MountOptions,
  place: Place,
): void {
  if (fresh) {
    b.add(about, "close", makeFilesystem(b, about, type, type, { ...options, data: [...view.options] }, place));
    return;
  }
  const tree = b.newFd();
  b.add(about, "openTree", tree, AT_FDCWD, view.path, 0);
  setAttributes(b, about, tree, options);
  finish(b, about, tree, place.target, options);
  b.add(about, "close", tree);
}
