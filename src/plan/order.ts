/**
 * The whole way of a container's process, in order: the file to read first.
 *
 * One list of steps. Up to `clone` they are carried out by the first process, in the host's namespaces; after it by
 * the process that becomes the container's. Pure: what the plan needs to know of the machine is in its arguments.
 */
import type { ContainerSpec } from "../spec/container.ts";
import { PlanBuilder } from "./builder.ts";
import { planDevices } from "./devices.ts";
import { planCreateHooks, planStartHooks } from "./hooks.ts";
import { planMasks } from "./masks.ts";
import { planDevEnd, planMounts } from "./mounts.ts";
import { planClone, planInside } from "./namespaces.ts";
import { planNotify } from "./notify.ts";
import { availableCapabilities, type ProcessPlan, planCredentials, planExec, planLimits } from "./process.ts";
import { type OverlayMount, planRoot, planRootEnd, planRootPropagation } from "./rootfs.ts";
import type { Plan } from "./step.ts";
import { AWAIT } from "./step.ts";
import { planSysctls } from "./sysctls.ts";
import { planConsole, planTerminal } from "./terminal.ts";

/** A cgroup hierarchy as a `cgroup` mount of the container shows it. */
export interface CgroupView {
  /** Directory below the mount's destination, such as "memory" or "cpu,cpuacct"; "" on v2. */
  name: string;
  /** Mount options that select the hierarchy: "memory", "none,name=systemd"; "" on v2. */
  options: readonly string[];
  /** The container's own cgroup in the host's file system. */
  path: string;
}

/** What the plan must be told beside the container itself; the same for every run of one bundle but `rootFd`. */
export interface PlanParameters {
  /** A v2 cgroup to clone into: the descriptor "cgroup" is inherited. */
  cgroupDirectory: boolean;
  /** Nobody may be cloned into it: the first process enters it through "cgroup:procs", and its child is born there. */
  cgroupReused: boolean;
  /** Does the first process wait until systemd has put it into a cgroup, which it then hands on? */
  cgroupBySystemd: boolean;
  /** v1 hierarchies whose `tasks` file the process writes itself into: descriptors "tasks:<name>". */
  cgroupTasks: readonly string[];
  /** For mounts of type cgroup. */
  cgroupViews: readonly CgroupView[];
  /** Is the root file system a mount that the runtime made: descriptor "rootfs"? */
  rootMounted: boolean;
  /** The layers of the root file system, where the process is to mount them itself. */
  overlay?: OverlayMount | undefined;
  /** The mount point that holds rootfs.path, as the host's mountinfo has it. */
  rootParent: string;
  /** Without a mount namespace: the directory that the root is mounted on, in place of rootfs.path. */
  rootPlace?: string | undefined;
  /** With --no-pivot: where procfs and sysfs are mounted on the host, and on what mount; the latest first. */
  hostKernelMounts: readonly { path: string; parent: string }[];
  /** Indices of the bind mounts whose source the runtime opens, as root of the user namespace cannot reach it. */
  farSources: readonly number[];
  /** Mounts with copy-symlink whose source is a link: their index, and where the link points. */
  sourceLinks: ReadonlyMap<number, string>;
  /** May setgroups(2) be called (not in a user namespace that an ordinary user mapped)? */
  setgroups: boolean;
  /** Does the process wait for `start`: descriptor "start"? */
  waitForStart: boolean;
  /** What `HOME` is when the environment has none; undefined: not needed. */
  home: string | undefined;
  /** Where the container's notify socket is, when somebody waits for its readiness: descriptor "notify" for who is privileged. */
  notifyDirectory?: string | undefined;
  /** The compiled seccomp profile. */
  seccomp: { flags: number; program: Uint8Array } | undefined;
}

/** The plan of `create` and `run`. */
export function planContainer(container: ContainerSpec, parameters: PlanParameters): Plan {
  const { process } = container.spec;
  const kept = (container.options.preserveFds ?? 0) + (container.options.listenFds ?? 0);
  const b = new PlanBuilder(3 + kept);
  b.inherit("sync");
  b.inherit("plan");
  const startFd = parameters.waitForStart ? b.inherit("start") : -1;

  planClone(b, container, parameters);
  planInside(b, container, parameters);

  const root = planRoot(b, container, parameters);
  const anchors = planMounts(b, container, parameters, root);
  if (parameters.notifyDirectory !== undefined) planNotify(b, container, parameters.notifyDirectory, root);
  planDevices(b, container, root);
  if (process.terminal) planConsole(b, container, root);
  planDevEnd(b, container, root);
  planCreateHooks(b, container);
  planMasks(b, container, root, anchors);
  planSysctls(b, container);
  planRootEnd(b, container, parameters, root);
  planRootPropagation(b, container);

  if (process.terminal) planTerminal(b, process.user.uid);
  const plan: ProcessPlan = {
    process,
    home: parameters.home,
    setgroups: parameters.setgroups,
    available: availableCapabilities(container.host, container.userns),
    seccomp: parameters.seccomp,
    personality: container.spec.linux?.personality,
    firstFd: 3 + kept,
    listenFds: container.options.listenFds ?? 0,
    listenFdNames: container.options.listenFdNames,
    notifies: parameters.notifyDirectory !== undefined,
  };
  planLimits(b, plan);
  planCredentials(b, plan);
  if (startFd === -1) b.add("process.args", "await", AWAIT.READY);
  else planStart(b, container, startFd);
  planStartHooks(b, container);
  planExec(b, plan);
  return b.plan();
}

/**
 * SIGHUP, SIGINT, SIGQUIT and SIGTERM: who stops a container asks by one of them, and waits. Without a handler the
 * kernel keeps them from the first process of a pid namespace (pid_namespaces(7)); that of runc has one as it is Go's.
 */
const ENDING = [1, 2, 3, 15];

/** A sigset_t. */
function signalMask(numbers: readonly number[]): bigint {
  return numbers.reduce((mask, number) => mask | (1n << BigInt(number - 1)), 0n);
}

/** Who is not root may enter the container before its start, to exec in it, only as long as this process is dumpable. */
function planStart(b: PlanBuilder, { host }: ContainerSpec, startFd: number): void {
  if (host.euid !== 0) b.add("start", "dumpable", 1);
  // Before the runtime tells anybody that there is a container: from then on it may be stopped.
  b.add("start", "endOnSignals", signalMask(ENDING));
  b.add("process.args", "await", AWAIT.READY);
  b.add("start", "awaitStart", startFd);
  if (host.euid !== 0) b.add("start", "dumpable", 0);
}
