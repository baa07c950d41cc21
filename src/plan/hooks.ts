/**
 * Where the init waits while the runtime runs hooks, and the plan of a hook that runs inside the container.
 * Rules: OCI config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
 */
import { CLONE_NEWCGROUP, CLONE_NEWUSER } from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { Hook } from "../spec/types.ts";
import { PlanBuilder } from "./builder.ts";
import { planChangedRoot } from "./rootfs.ts";
import { planFilter } from "./seccomp.ts";
import { AWAIT, type Plan } from "./step.ts";

/** After the mounts, which hooks may add to, and before anything is masked and the root is changed. */
export function planCreateHooks(b: PlanBuilder, container: ContainerSpec): void {
  const { prestart, createRuntime, createContainer } = container.spec.hooks ?? {};
  if (prestart?.length || createRuntime?.length || createContainer?.length) {
    planWait(b, container, "hooks", AWAIT.CREATE_HOOKS);
  }
}

/** After `start`, as the last thing before the process. */
export function planStartHooks(b: PlanBuilder, container: ContainerSpec): void {
  if (container.spec.hooks?.startContainer?.length) {
    planWait(b, container, "hooks.startContainer", AWAIT.START_HOOKS);
  }
}

/** Who is not root may join the namespaces of this process only as long as it is dumpable. */
function planWait(b: PlanBuilder, { host }: ContainerSpec, about: string, tag: number): void {
  if (host.euid !== 0) b.add(about, "dumpable", 1);
  b.add(about, "await", tag);
  if (host.euid !== 0) b.add(about, "dumpable", 0);
}

export interface HookPlanRequest {
  hook: Hook;
  /** Where it stands in config.json. */
  about: string;
  /** CLONE_NEW* bits to join, by the pidfd of the container's process: descriptor "container". */
  namespaces: number;
  /** Is the root of the container's process to be changed to, as no mount namespace brings it: descriptor "root"? */
  changesRoot?: boolean | undefined;
  /** Who sets the container up in its user namespace. */
  setupIds: { uid: number; gid: number };
  setgroups: boolean;
  /** Where it starts. */
  cwd: string;
  /** The container's filter, for a hook that runs in its place. */
  seccomp?: { flags: number; program: Uint8Array } | undefined;
}

/** A hook in the namespaces of the container, with the root file system that its process has now. */
export function planHook(request: HookPlanRequest): Plan {
  const { hook, about, namespaces, changesRoot, setupIds, setgroups, cwd, seccomp } = request;
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  const container = b.inherit("container");
  // The runtime's own cgroup is the hook's; in the container's cgroup namespace it would have no path.
  const joined = namespaces & ~CLONE_NEWCGROUP;
  if (joined !== 0) b.add(about, "setns", container, joined);
  b.add(about, "close", container);
  b.add(about, "clone", 0, -1);
  if (changesRoot) planChangedRoot(b, about);
  if ((joined & CLONE_NEWUSER) !== 0) b.add(about, "become", setupIds.uid, setupIds.gid, setgroups ? 1 : 0);
  b.add(about, "chdir", cwd);
  b.add(about, "umask", 0o22);
  b.add(about, "findExecutable", [hook.path]);
  b.add(about, "cloexecFrom", 3);
  if (seccomp !== undefined) planFilter(b, about, seccomp);
  b.add(about, "exec", hook.args?.length ? hook.args : [hook.path], hook.env ?? []);
  return b.plan();
}
