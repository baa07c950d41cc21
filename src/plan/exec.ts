/**
 * The plan of `exec`: another process in the namespaces and cgroups of a container that runs.
 */
import type { Host } from "../host.ts";
import { CLONE_NEWCGROUP, CLONE_NEWUSER, O_PATH } from "../linux.ts";
import type { ResolvedProcess } from "../spec/container.ts";
import type { LinuxMemoryPolicy, LinuxPersonality } from "../spec/types.ts";
import { PlanBuilder } from "./builder.ts";
import { planLabels } from "./labels.ts";
import {
  type ProcessPlan,
  planCredentials,
  planExec as planExecution,
  planLimits,
  planOomScore,
  planRaisedLimits,
} from "./process.ts";
import { planChangedRoot } from "./rootfs.ts";
import { planAllCpus, planCpus, planMemoryPolicy } from "./schedule.ts";
import { AWAIT, type Plan } from "./step.ts";
import { planPty, planTerminal } from "./terminal.ts";

export interface ExecPlanRequest {
  id: string;
  process: ResolvedProcess;
  /** CLONE_NEW* bits to join, by the pidfd of the container's process: descriptor "container". */
  namespaces: number;
  /** Is the container's root to be changed to, as no mount namespace brings it: descriptor "root"? */
  changesRoot?: boolean | undefined;
  cgroupDirectory: boolean;
  cgroupTasks: readonly string[];
  setgroups: boolean;
  /** Who set the container up in its user namespace. */
  setupIds: { uid: number; gid: number };
  host: Host;
  preserveFds: number;
  noNewKeyring: boolean;
  home: string | undefined;
  /** Mask of the capabilities that can be given. */
  available: bigint;
  seccomp: { flags: number; program: Uint8Array } | undefined;
  personality?: LinuxPersonality | undefined;
  memoryPolicy?: LinuxMemoryPolicy | undefined;
}

export function planExec(request: ExecPlanRequest): Plan {
  const { process } = request;
  const firstFd = 3 + request.preserveFds;
  const b = new PlanBuilder(firstFd);
  b.inherit("sync");
  b.inherit("plan");
  planCpus(b, "process.execCPUAffinity.initial", process.execCPUAffinity?.initial);
  planOomScore(b, process, request.host);
  if ((request.namespaces & CLONE_NEWUSER) !== 0) planRaisedLimits(b, process, request.host);
  const container = b.inherit("container");
  // On v2 nobody enters a cgroup from a cgroup namespace that he is outside of: that one is joined from within.
  const later = request.namespaces & CLONE_NEWCGROUP;
  const first = request.namespaces & ~CLONE_NEWCGROUP;
  if (first !== 0) b.add("namespaces of the container", "setns", container, first);
  if (later === 0) b.add("namespaces of the container", "close", container);
  const cgroup = request.cgroupDirectory ? b.inherit("cgroup") : -1;
  b.add("exec", "clone", 0, cgroup);
  if (cgroup !== -1) b.add("exec", "close", cgroup);
  if (request.changesRoot) planChangedRoot(b, "root of the container");

  for (const name of request.cgroupTasks) {
    const fd = b.inherit(`tasks:${name}`);
    b.add("cgroup of the container", "write", fd, "0");
    b.add("cgroup of the container", "close", fd);
  }
  if ((request.namespaces & CLONE_NEWUSER) !== 0) {
    b.add("user namespace", "become", request.setupIds.uid, request.setupIds.gid, request.setgroups ? 1 : 0);
  }
  if (later !== 0) {
    b.add("namespaces of the container", "setns", container, later);
    b.add("namespaces of the container", "close", container);
  }
  // Those that it has begun on are for the way into the cgroup alone.
  if (!process.execCPUAffinity?.final) planAllCpus(b);
  planCpus(b, "process.execCPUAffinity.final", process.execCPUAffinity?.final);
  planMemoryPolicy(b, request.memoryPolicy);
  b.add("process", "setsid");
  planLabels(b, process, !request.noNewKeyring);
  if (!request.noNewKeyring) b.add("session keyring", "keyring", `_ses.${request.id}`);
  if (process.terminal) {
    const root = b.newFd();
    b.add("process.terminal", "open", root, "/", O_PATH, 0);
    const slave = planPty(b, root, process.consoleSize);
    b.add("process.terminal", "controllingTerminal", slave);
    b.add("process.terminal", "close", root);
    planTerminal(b, process.user.uid);
  }
  const plan: ProcessPlan = {
    process,
    home: request.home,
    setgroups: request.setgroups,
    available: request.available,
    seccomp: request.seccomp,
    personality: request.personality,
    firstFd,
    listenFds: 0,
    notifies: false,
  };
  planLimits(b, plan);
  planCredentials(b, plan);
  b.add("process.args", "await", AWAIT.READY);
  planExecution(b, plan);
  return b.plan();
}
