/**
 * Mounts of a container that runs: more of them, or fewer. Carried out by an init of its own, in the container's
 * namespaces; sources of bind mounts are the host's and so are opened before those are joined.
 * Rules: OCI config.md "Mounts"; crun(1) "mounts".
 */
import { AT_FDCWD, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, CLONE_NEWCGROUP, CLONE_NEWUSER, O_PATH } from "../linux.ts";
import { mountMappings } from "../spec/idmap.ts";
import { type MountOptions, parseMountOptions } from "../spec/mount-options.ts";
import type { Linux, Mount, Spec } from "../spec/types.ts";
import { PlanBuilder } from "./builder.ts";
import { isBind, labelFilesystem, planBind, planFilesystem, planRemount } from "./mounts.ts";
import type { Plan } from "./step.ts";

export interface LivePlanRequest {
  mounts: readonly Mount[];
  /** CLONE_NEW* bits to join, by the pidfd of the container's process: descriptor "container". */
  namespaces: number;
  /** Who sets the container up in its user namespace. */
  setupIds: { uid: number; gid: number };
  setgroups: boolean;
  /** Of its config.json: mappings and label for its mounts. */
  linux: Linux;
  annotations?: Spec["annotations"] | undefined;
  /** Mounts with copy-symlink whose source is a link: their index, and where the link points. */
  sourceLinks: ReadonlyMap<number, string>;
}

/** One after another; descriptors "tree:N" and "userns:N" are the idmapped ones, as for a new container. */
export function planAddMounts(request: LivePlanRequest): Plan {
  const { mounts, sourceLinks } = request;
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  const container = b.inherit("container");
  const opened = mounts.map((mount, i) => planSource(b, mount, i, request));
  const root = planEnter(b, container, request);
  mounts.forEach((mount, i) => {
    const about = aboutMount(mount, i);
    const options = parseMountOptions(mount.options);
    labelFilesystem(mount, options, request);
    const link = sourceLinks.get(i);
    if (link !== undefined) b.add(about, "symlink", root, link, mount.destination, 1);
    else if (options.remount) planRemount(b, about, mount, options, root);
    else if (isBind(mount, options)) b.add(about, "close", planBind(b, about, mount, options, root, opened[i]));
    else b.add(about, "close", planFilesystem(b, about, mount, options, root, opened[i]));
  });
  return b.plan();
}

/** The last of them first, as one may lie in another. */
export function planRemoveMounts(request: Omit<LivePlanRequest, "linux" | "sourceLinks">): Plan {
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  const root = planEnter(b, b.inherit("container"), request);
  const numbered = request.mounts.map((mount, i) => [mount, i] as const);
  for (const [mount, i] of numbered.reverse()) b.add(aboutMount(mount, i), "unmount", root, mount.destination);
  return b.plan();
}

export function aboutMount({ destination }: Mount, i: number): string {
  return `mounts[${i}] ${destination}`;
}

/** @returns the tree of a bind mount, or the user namespace of another; undefined where the mount needs neither */
function planSource(
  b: PlanBuilder,
  mount: Mount,
  i: number,
  { linux, sourceLinks }: LivePlanRequest,
): number | undefined {
  const options: MountOptions = parseMountOptions(mount.options);
  if (options.remount || sourceLinks.has(i)) return undefined;
  const isMapped = mountMappings(mount, linux, options) !== undefined;
  if (!isBind(mount, options)) return isMapped ? b.inherit(`userns:${i}`) : undefined;
  if (isMapped) return b.inherit(`tree:${i}`);
  const tree = b.newFd();
  const flags = (options.rbind ? AT_RECURSIVE : 0) | (options.keepSourceLink ? AT_SYMLINK_NOFOLLOW : 0);
  b.add(aboutMount(mount, i), "openTree", tree, AT_FDCWD, mount.source ?? "", flags);
  return tree;
}

/** Into the namespaces of the container, as who sets it up. @returns the descriptor of its root */
function planEnter(
  b: PlanBuilder,
  container: number,
  { namespaces, setupIds, setgroups }: Pick<LivePlanRequest, "namespaces" | "setupIds" | "setgroups">,
): number {
  const about = "namespaces of the container";
  // In its cgroup namespace our own cgroup would have no path.
  const joined = namespaces & ~CLONE_NEWCGROUP;
  b.add(about, "setns", container, joined);
  b.add(about, "close", container);
  // A procfs is that of the pid namespace one is in, and that is joined for one's children.
  b.add(about, "clone", 0, -1);
  if ((joined & CLONE_NEWUSER) !== 0) b.add(about, "become", setupIds.uid, setupIds.gid, setgroups ? 1 : 0);
  const root = b.newFd();
  b.add(about, "open", root, "/", O_PATH, 0);
  return root;
}
