/**
 * Namespaces: which are joined, which come with the clone, and what is set up in a new one.
 * Rules: OCI config-linux.md "Namespaces", "User namespace mappings"; namespaces(7), clone(2), setns(2).
 */
import { CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWTIME, CLONE_NEWUSER, O_WRONLY } from "../linux.ts";
import type { ContainerSpec, JoinedNamespace } from "../spec/container.ts";
import type { LinuxIDMapping, LinuxTimeOffset } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";
import { planLabels } from "./labels.ts";
import type { PlanParameters } from "./order.ts";
import { planOomScore, planRaisedLimits } from "./process.ts";
import { planAllCpus, planMemoryPolicy } from "./schedule.ts";
import { AWAIT } from "./step.ts";

/** The steps of the first process, in the namespaces of the host, up to the clone. */
export function planClone(b: PlanBuilder, container: ContainerSpec, parameters: PlanParameters): void {
  const { process } = container.spec;
  if (parameters.cgroupBySystemd) b.add("linux.cgroupsPath", "await", AWAIT.CGROUP);
  planOomScore(b, process, container.host);
  if (container.userns) planRaisedLimits(b, process, container.host);
  // With privilege over the host the user namespace is joined last, as joining it gives that privilege up;
  // without, joining it first is what gives the right to join the others.
  const joins = [...container.namespaces.join].sort((x, y) => {
    const last = Number(x.flag === CLONE_NEWUSER) - Number(y.flag === CLONE_NEWUSER);
    return container.host.privileged ? last : -last;
  });
  const entersFirst = parameters.cgroupDirectory && (parameters.cgroupReused || entersCgroupFirst(container));
  if (entersFirst) {
    const procs = b.inherit("cgroup:procs");
    b.add("linux.cgroupsPath", "write", procs, "0");
    b.add("linux.cgroupsPath", "close", procs);
  }
  for (const join of joins) if (!isJoinedInside(join, container)) planJoin(b, join);
  const cgroup = parameters.cgroupDirectory && !entersFirst ? b.inherit("cgroup") : -1;
  // A cgroup namespace made by the clone would have the old cgroup as its root: it is made after joining the new one.
  let flags = container.namespaces.create & ~CLONE_NEWCGROUP;
  const offsets = Object.entries(container.spec.linux?.timeOffsets ?? {});
  if (offsets.length > 0) {
    planTimeOffsets(b, offsets);
    flags &= ~CLONE_NEWTIME;
  }
  b.add("linux.namespaces", "clone", flags, cgroup);
  if (cgroup !== -1) b.add("linux.cgroupsPath", "close", cgroup);
}

/** The clocks of a time namespace can be set as long as nobody is in it: the clone is the first. time_namespaces(7). */
function planTimeOffsets(b: PlanBuilder, offsets: readonly [string, LinuxTimeOffset][]): void {
  b.add("linux.timeOffsets", "unshare", CLONE_NEWTIME);
  const fd = b.newFd();
  b.add("linux.timeOffsets", "dumpable", 1);
  b.add("linux.timeOffsets", "open", fd, "/proc/self/timens_offsets", O_WRONLY, 0);
  b.add("linux.timeOffsets", "dumpable", 0);
  const lines = offsets.map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`);
  b.add("linux.timeOffsets", "write", fd, lines.join(""));
  b.add("linux.timeOffsets", "close", fd);
}

/** On v2 nobody enters a cgroup from a cgroup namespace that he is outside of; in a user namespace the right is lost. */
function isJoinedInside({ flag }: JoinedNamespace, { userns }: ContainerSpec): boolean {
  return flag === CLONE_NEWCGROUP && !userns;
}

/**
 * Where both are joined, neither order of the two would do after the clone: the first process enters the cgroup itself,
 * through the file cgroup.procs, before it joins any of them, and its child is born there.
 */
export function entersCgroupFirst({ userns, namespaces }: ContainerSpec): boolean {
  return userns && namespaces.join.some(({ flag }) => flag === CLONE_NEWCGROUP);
}

function planJoin(b: PlanBuilder, { type, path, flag }: JoinedNamespace): void {
  const fd = b.inherit(`ns:${type}`);
  b.add(`linux.namespaces ${type} ${path}`, "setns", fd, flag);
  b.add(`linux.namespaces ${type}`, "close", fd);
}

/** The first steps of the container's process: its ids, its cgroups, its own namespaces' contents. */
export function planInside(b: PlanBuilder, container: ContainerSpec, parameters: PlanParameters): void {
  if ((container.namespaces.create & CLONE_NEWUSER) !== 0) {
    // The init is not dumpable, so its /proc files are root's; a runtime that is not root has to write them.
    const isForeign = container.host.euid !== 0;
    if (isForeign) b.add("linux.uidMappings", "dumpable", 1);
    b.add("linux.uidMappings", "await", AWAIT.ID_MAPS);
    if (isForeign) b.add("linux.uidMappings", "dumpable", 0);
  }
  if (container.userns) {
    const { uid, gid } = setupIds(container);
    b.add("linux.uidMappings", "become", uid, gid, parameters.setgroups ? 1 : 0);
  }
  for (const name of parameters.cgroupTasks) {
    const fd = b.inherit(`tasks:${name}`);
    // "0" is the writer itself; the check is made against whoever opened the file.
    b.add(`linux.cgroupsPath ${name}`, "write", fd, "0");
    b.add(`linux.cgroupsPath ${name}`, "close", fd);
  }
  for (const join of container.namespaces.join) if (isJoinedInside(join, container)) planJoin(b, join);
  if ((container.namespaces.create & CLONE_NEWCGROUP) !== 0) {
    b.add("linux.namespaces cgroup", "unshare", CLONE_NEWCGROUP);
  }
  planAllCpus(b);
  planMemoryPolicy(b, container.spec.linux?.memoryPolicy);
  b.add("process", "setsid");
  planLabels(b, container.spec.process, !container.options.noNewKeyring);
  if (!container.options.noNewKeyring) b.add("session keyring", "keyring", `_ses.${container.id}`);
  const { hostname, domainname } = container.spec;
  if (hostname) b.add("hostname", "sethostname", hostname);
  if (domainname) b.add("domainname", "setdomainname", domainname);
  if ((container.namespaces.create & CLONE_NEWNET) !== 0) b.add("linux.namespaces network", "loopback");
  if (hasNetDevices(container)) b.add("linux.netDevices", "await", AWAIT.NET_DEVICES);
}

function hasNetDevices({ spec }: ContainerSpec): boolean {
  return Object.keys(spec.linux?.netDevices ?? {}).length > 0;
}

/**
 * Who sets a container up in its user namespace: its root or, where the mappings have no root, the user of its process.
 * It has every capability there whatever its id is, and an id it needs to own what it makes.
 */
export function setupIds({ uidMappings, gidMappings, spec }: ContainerSpec): { uid: number; gid: number } {
  const { uid, gid } = spec.process.user;
  return { uid: hasRoot(uidMappings) ? 0 : uid, gid: hasRoot(gidMappings) ? 0 : gid };
}

/** A namespace that is joined may come without its mappings, and is taken to have one. */
function hasRoot(mappings: readonly LinuxIDMapping[]): boolean {
  return mappings.length === 0 || mappings.some(({ containerID }) => containerID === 0);
}

/** Names of namespaces by their CLONE_NEW* bit, for messages. */
export const CLONE_NAMES: readonly (readonly [number, string])[] = [
  [CLONE_NEWUSER, "user"],
  [CLONE_NEWNET, "network"],
  [0x8000000, "ipc"],
  [0x4000000, "uts"],
  [0x20000, "mount"],
  [0x20000000, "pid"],
  [CLONE_NEWCGROUP, "cgroup"],
  [CLONE_NEWTIME, "time"],
];
