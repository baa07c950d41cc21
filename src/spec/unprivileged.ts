/**
 * What a config asks for that only root of the machine can do, when the caller is another one: all of it at once, before
 * anything is made. Rules: user_namespaces(7) "Capabilities"; newuidmap(1); kernel FS_USERNS_MOUNT, net/ipv4 ping.
 */
import type { Problem } from "../errors.ts";
import type { Host, IdRange } from "../host.ts";
import { keepsGroups } from "./crun.ts";
import { findNamespace } from "./namespaces.ts";
import { quote } from "./text.ts";
import type { Linux, LinuxIDMapping, LinuxNamespaceType, Mount, Process, Spec } from "./types.ts";

const CAP_SYS_ADMIN = 1n << 21n;

/** How the root is put together, as far as it matters here. */
interface Rootfs {
  layers: readonly string[] | undefined;
  overlayOptions: readonly string[];
}

export function unprivilegedProblems(spec: Spec, host: Host, rootfs: Rootfs): Problem[] {
  const linux = spec.linux ?? {};
  const userns = findNamespace(linux.namespaces, "user");
  // Without one there is nothing that could work: that is said already.
  if (host.privileged || userns === undefined) return [];
  if (host.euid === 0) return userns.path || !host.userns ? [] : unknownIds(linux, host);
  const problems = [...mountProblems(spec.mounts ?? [], linux), ...overlayProblems(rootfs)];
  problems.push(...sysctlProblems(linux));
  if (!userns.path) {
    problems.push(...mappingProblems(linux, host));
    if (!keepsGroups(spec.annotations)) problems.push(...groupProblems(spec.process, linux, host));
    problems.push(...joinProblems(linux, host));
    problems.push(...mountIdProblems(spec.mounts ?? [], linux));
    problems.push(...pingProblems(linux));
    if (rootfs.layers !== undefined && !isMapped(host.euid, linux.uidMappings, "hostID")) {
      problems.push({
        path: "linux.uidMappings",
        message: `has no place for user ${host.euid} of the host, whose store the layers are mounted from`,
      });
    }
  }
  return problems;
}

/**
 * A sysfs shows the network of its mount's owner: without a network namespace of the container's own the kernel refuses
 * a new one, and the host's is bound, as crun does. What was asked of the mount is asked of the bind.
 */
export function bindSysfs(mount: Mount, linux: Linux | undefined, host: Host): Mount {
  if (mount.type !== "sysfs" || host.euid === 0) return mount;
  const { namespaces } = linux ?? {};
  if (findNamespace(namespaces, "user") === undefined || findNamespace(namespaces, "network") !== undefined) {
    return mount;
  }
  return { ...mount, type: "none", source: "/sys", options: ["rbind", ...(mount.options ?? [])] };
}

/** Kernel filesystems/overlayfs.rst, "userxattr": what metacopy marks could be forged there. */
function overlayProblems({ overlayOptions }: Rootfs): Problem[] {
  const problems: Problem[] = [];
  for (const [word, why] of [
    ["metacopy", "overlayfs refuses it in a user namespace"],
    ["idmap", "the ids of a file system are root's to map; those of the caller's layers are his own"],
  ] as const) {
    if (overlayOptions.includes(word)) problems.push({ path: "--overlay-option", message: `${word}: ${why}` });
  }
  return problems;
}

/** File systems that root of a user namespace may mount. Those of FUSE have the name of their program after a dot. */
const FILESYSTEMS = ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay"];

/** Options of these that are root's. */
const PRIVILEGED_OPTIONS: Readonly<Record<string, RegExp>> = {
  __proto__: null as never,
  tmpfs: /^(noswap|quota|(usr|grp)quota.*)$/,
  overlay: /^metacopy=on$/,
};

/** Kernel file systems that show a namespace: it must be one of the container's own. */
const SHOWS: Readonly<Record<string, LinuxNamespaceType>> = { proc: "pid", mqueue: "ipc" };

function mountProblems(mounts: readonly Mount[], linux: Linux): Problem[] {
  const problems: Problem[] = [];
  mounts.forEach((mount, i) => {
    const { type = "", options, destination } = mount;
    if (!isNew(mount)) return;
    const path = `mounts[${i}] ${destination}`;
    const shown = SHOWS[type];
    if (!FILESYSTEMS.includes(type) && !/^fuse(blk)?(\.|$)/.test(type)) {
      problems.push({
        path,
        message: `a file system of type ${quote(type)} can be mounted by root of the machine only`,
      });
    } else if (shown !== undefined && findNamespace(linux.namespaces, shown) === undefined) {
      const message = `${type} shows the host's ${shown} namespace, which only root may mount`;
      problems.push({
        path,
        message: `${message}: add {"type": "${shown}"} to linux.namespaces, or bind ${destination}`,
      });
    }
    for (const option of options ?? []) {
      if (PRIVILEGED_OPTIONS[type]?.test(option)) {
        problems.push({ path, message: `${quote(option)} of a ${type} is for root of the machine only` });
      }
    }
  });
  return problems;
}

/** A file system of its own, not a view of one that is mounted already. */
function isNew({ type = "", options }: Mount): boolean {
  if (options?.some((word) => word === "bind" || word === "rbind" || word === "remount")) return false;
  return type !== "" && type !== "none" && type !== "bind";
}

/** Owners that are given to a new file system must be somebody in its user namespace. */
function mountIdProblems(mounts: readonly Mount[], { uidMappings, gidMappings }: Linux): Problem[] {
  const problems: Problem[] = [];
  mounts.forEach((mount, i) => {
    if (!isNew(mount) || !/^(tmpfs|devpts|proc)$/.test(mount.type ?? "")) return;
    for (const option of mount.options ?? []) {
      const [, kind, id] = /^([ug])id=(\d+)$/.exec(option) ?? [];
      if (kind === undefined || isMapped(Number(id), kind === "u" ? uidMappings : gidMappings, "containerID")) continue;
      const message = `${quote(option)} is not in linux.${kind}idMappings`;
      problems.push({ path: `mounts[${i}] ${mount.destination}`, message });
    }
  });
  return problems;
}

/** setgroups(2) is given up by who maps himself alone: user_namespaces(7). */
function groupProblems(process: Process | undefined, { uidMappings = [], gidMappings = [] }: Linux, host: Host) {
  const groups = process?.user?.additionalGids ?? [];
  if (groups.length === 0 || !isOwnOnly(uidMappings, host.euid) || !isOwnOnly(gidMappings, host.egid)) return [];
  const message = "groups cannot be set where an ordinary user maps a single id: map a range of /etc/subgid too";
  return [{ path: "process.user.additionalGids", message }];
}

/** setns(2) asks for rights over the namespace, which a user namespace that is just made has over its own alone. */
function joinProblems({ namespaces = [] }: Linux, host: Host): Problem[] {
  if ((host.capabilities & CAP_SYS_ADMIN) !== 0n) return [];
  const problems: Problem[] = [];
  namespaces.forEach(({ type, path }, i) => {
    if (!path) return;
    const message = `a ${type} namespace can be joined only together with the user namespace that it belongs to: give that a path too`;
    problems.push({ path: `linux.namespaces[${i}].path`, message });
  });
  return problems;
}

/** Unlike the files of the other namespaces, this one belongs to root of the machine. */
function sysctlProblems({ sysctl = {} }: Linux): Problem[] {
  return Object.keys(sysctl)
    .filter((key) => key.replaceAll("/", ".") === "kernel.domainname")
    .map((key) => ({
      path: `linux.sysctl.${key}`,
      message: "is for root of the machine only: set domainname instead",
    }));
}

/** Root of a user namespace maps the ids that it has. */
function unknownIds({ uidMappings = [], gidMappings = [] }: Linux, { ownIds }: Host): Problem[] {
  const problems: Problem[] = [];
  const check = (path: string, mappings: readonly LinuxIDMapping[], ranges: readonly IdRange[]) =>
    mappings.forEach(({ hostID, size }, i) => {
      if (isWithin(hostID, size, ranges)) return;
      const message = `the user namespace that tsrun is in has no ids ${hostID} to ${hostID + size - 1}: ${shown(ranges)}`;
      problems.push({ path: `${path}[${i}]`, message });
    });
  check("linux.uidMappings", uidMappings, ownIds.uids);
  check("linux.gidMappings", gidMappings, ownIds.gids);
  return problems;
}

/** Ranges that follow one another are as good as one. */
function isWithin(first: number, count: number, ranges: readonly IdRange[]): boolean {
  let next = first;
  for (const range of [...ranges].sort((a, b) => a.first - b.first)) {
    if (next >= range.first && next < range.first + range.count) next = range.first + range.count;
  }
  return next >= first + count;
}

function shown(ranges: readonly IdRange[]): string {
  return ranges.map(({ first, count }) => `${first} to ${first + count - 1}`).join(", ") || "none";
}

/** The caller's own id he may map himself; newuidmap and newgidmap map those of his ranges. */
function mappingProblems({ uidMappings = [], gidMappings = [] }: Linux, host: Host): Problem[] {
  if (isOwnOnly(uidMappings, host.euid) && isOwnOnly(gidMappings, host.egid)) return [];
  const { uids, gids, hasPrograms, isComplete } = host.subordinate;
  if (!hasPrograms) {
    const message =
      "more than one's own id is mapped by newuidmap and newgidmap, which are not installed (package uidmap)";
    return [{ path: "linux.uidMappings", message }];
  }
  if (!isComplete) return [];
  return [
    ...foreign(uidMappings, host.euid, uids, { path: "linux.uidMappings", by: "newuidmap", file: "/etc/subuid" }),
    ...foreign(gidMappings, host.egid, gids, { path: "linux.gidMappings", by: "newgidmap", file: "/etc/subgid" }),
  ];
}

function isOwnOnly(mappings: readonly LinuxIDMapping[], own: number): boolean {
  return mappings.length === 1 && mappings[0]?.size === 1 && mappings[0].hostID === own;
}

function foreign(
  mappings: readonly LinuxIDMapping[],
  own: number,
  ranges: readonly IdRange[],
  { path, by, file }: { path: string; by: string; file: string },
): Problem[] {
  const problems: Problem[] = [];
  mappings.forEach(({ hostID, size }, i) => {
    if (size === 1 && hostID === own) return;
    if (ranges.some(({ first, count }) => hostID >= first && hostID + size <= first + count)) return;
    problems.push({
      path: `${path}[${i}]`,
      message: `${by} will not map ${hostID} to ${hostID + size - 1}: this user's ids in ${file} are ${shown(ranges)}`,
    });
  });
  return problems;
}

/** Groups that may send pings: the kernel takes only groups that the namespace has. */
function pingProblems({ sysctl = {}, gidMappings }: Linux): Problem[] {
  const problems: Problem[] = [];
  for (const [key, value] of Object.entries(sysctl)) {
    if (key.replaceAll("/", ".") !== "net.ipv4.ping_group_range") continue;
    const [first = 0, last = 0] = String(value).trim().split(/\s+/).map(Number);
    // "1 0" is nobody.
    if (first > last || [first, last].every((gid) => isMapped(gid, gidMappings, "containerID"))) continue;
    problems.push({
      path: `linux.sysctl.${key}`,
      message: `${quote(String(value))} has a group that is not in linux.gidMappings`,
    });
  }
  return problems;
}

function isMapped(
  id: number,
  mappings: readonly LinuxIDMapping[] | undefined,
  side: "containerID" | "hostID",
): boolean {
  return mappings?.some((mapping) => id >= mapping[side] && id < mapping[side] + mapping.size) ?? false;
}
