/**
 * How criu is started: by the init, because what a restore needs beforehand takes a process of one thread. A restore
 * finds the root file system mounted in a mount namespace of its own, which ends with it: nothing of that is on the host.
 * Rules: criu(8), "swrk"; criu.org "CLI/opt/--root": a mount point whose parent is not covered.
 */
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, CLONE_NEWNS, MS_PRIVATE, MS_SLAVE, O_PATH } from "../linux.ts";
import { PlanBuilder } from "./builder.ts";
import { targetOf } from "./mounts.ts";
import { AWAIT, type Plan } from "./step.ts";

/** A kind of the `target` op: as the object at a descriptor. */
const LIKE_DESCRIPTOR = 3;

export interface CriuPlanRequest {
  /** Path of criu. */
  program: string;
  env: readonly string[];
  /** Names of descriptors that criu is to have beside its socket. */
  kept: readonly string[];
  restore?: RestorePlanRequest | undefined;
}

export interface RestorePlanRequest {
  /** Does systemd make the cgroup around criu? */
  cgroupBySystemd: boolean;
  /** Cgroups that criu is in while it restores what belongs there: descriptors "tasks:<name>". */
  cgroupTasks: readonly string[];
  /** An existing directory that is covered. */
  place: string;
  /** root.path; undefined: the root is a mount that was made already, descriptor "rootfs". */
  root: string | undefined;
  /** Places that must be there to be mounted on: in the root or, with `source`, in a directory that is bound there. */
  targets: readonly MountTarget[];
  /** Mounts that were made already, by name of their descriptor. */
  trees: readonly string[];
}

export interface MountTarget {
  path: string;
  kind: "directory" | "file";
  /** A directory of the host. */
  source?: string | undefined;
}

export interface CriuPlan {
  plan: Plan;
  /** Numbers that descriptors have in criu. */
  numbers: ReadonlyMap<string, number>;
}

/** Where criu finds the root, and where one of `trees`. */
export function rootIn(place: string): string {
  return `${place}/root`;
}

export function treeIn(place: string, name: string): string {
  return `${place}/${name.replace(":", "-")}`;
}

/** Inherits "sync", "plan" and "criu", the socket, beside what is asked for. */
export function planCriu({ program, env, kept, restore }: CriuPlanRequest): CriuPlan {
  const b = new PlanBuilder(3);
  const numbers = new Map([["criu", b.inherit("criu")]]);
  for (const name of kept) numbers.set(name, b.inherit(name));
  const first = 3 + numbers.size;
  b.inherit("sync");
  b.inherit("plan");
  if (restore !== undefined) planRestore(b, restore);
  b.add("criu", "umask", 0o22);
  b.add("criu", "findExecutable", [program]);
  b.add("criu", "cloexecFrom", first);
  b.add("criu", "exec", [program, "swrk", String(numbers.get("criu"))], env);
  return { plan: b.plan(), numbers };
}

function planRestore(
  b: PlanBuilder,
  { cgroupBySystemd, cgroupTasks, place, root, targets, trees }: RestorePlanRequest,
): void {
  if (cgroupBySystemd) b.add("linux.cgroupsPath", "await", AWAIT.CGROUP);
  for (const name of cgroupTasks) {
    const fd = b.inherit(`tasks:${name}`);
    b.add(`linux.cgroupsPath ${name}`, "write", fd, "0");
    b.add(`linux.cgroupsPath ${name}`, "close", fd);
  }
  const about = "mounts for criu";
  b.add(about, "unshare", CLONE_NEWNS);
  b.add(about, "mountSetattr", AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_SLAVE, -1);
  let tree: number;
  if (root === undefined) tree = b.inherit("rootfs");
  else {
    tree = b.newFd();
    b.add("root.path", "openTree", tree, AT_FDCWD, root, AT_RECURSIVE);
  }
  const [cover, at] = [b.newFd(), b.newFd()];
  // What is in it is opened by root of the container's user namespace, too.
  b.add(about, "fsmount", cover, "tmpfs", 0, ["source=tmpfs", "mode=711"]);
  b.add(about, "open", at, place, O_PATH, 0);
  b.add(about, "attach", cover, at);
  b.add(about, "close", at);
  b.add("root.path", "mountSetattr", tree, "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_PRIVATE, -1);
  const rootAt = targetOf(b, "root.path", cover, "/root", "directory");
  b.add("root.path", "attach", tree, rootAt);
  b.add("root.path", "close", rootAt);
  for (const { path, kind, source } of targets) {
    const at = source === undefined ? tree : b.newFd();
    if (source !== undefined) b.add(`mounts ${path}`, "open", at, source, O_PATH, 0);
    b.add(`mounts ${path}`, "close", targetOf(b, `mounts ${path}`, at, path, kind));
    if (source !== undefined) b.add(`mounts ${path}`, "close", at);
  }
  for (const name of trees) {
    const [fd, target] = [b.inherit(name), b.newFd()];
    b.add(about, "target", target, cover, treeIn("", name), LIKE_DESCRIPTOR, fd, 0);
    b.add(about, "attach", fd, target);
    b.add(about, "close", target);
    b.add(about, "close", fd);
  }
  b.add(about, "close", cover);
  b.add("root.path", "close", tree);
}
