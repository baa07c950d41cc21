/**
 * What a container has from outside, looked up on both ways of a checkpoint: in the container that is dumped, and on
 * the host that it is restored on. Names and their grammar are those of criu/external.ts.
 */
import type { CgroupHierarchies, CgroupRecord } from "../cgroup/manager.ts";
import { cgroupViews } from "../cgroup/views.ts";
import {
  dumpedMounts,
  fileName,
  type HostNode,
  isOutside,
  isOutsideFile,
  NETWORK_NAMESPACE,
  PID_NAMESPACE,
  parseMountinfo,
  terminalName,
} from "../criu/external.ts";
import { isErrno, TsrunError } from "../errors.ts";
import { CLONE_NEWCGROUP, MOUNT_ATTR_RDONLY } from "../linux.ts";
import { resolve } from "../path.ts";
import { type MountTarget, treeIn } from "../plan/criu.ts";
import { DEFAULT_DEVICES } from "../plan/devices.ts";
import { mountMappings } from "../spec/idmap.ts";
import { parseMountOptions } from "../spec/mount-options.ts";
import { findNamespace } from "../spec/namespaces.ts";
import type { LinuxNamespaceType, Mount, Spec } from "../spec/types.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_PATH } from "../sys/constants.ts";
import { Fd, mountId, open } from "../sys/file.ts";
import { fstatSync, readFileSync, readlinkSync, statSync } from "../sys/fs.ts";
import { isTerminal, pidfdGetFd, pidfdOpen } from "../sys/process.ts";
import { mountTable } from "./mount-table.ts";
import type { StateRecord } from "./state.ts";

/** Namespaces that are given to criu as descriptors, and what an image calls them. */
const BY_DESCRIPTOR: Partial<Record<LinuxNamespaceType, { file: string; name: string }>> = {
  network: { file: "net", name: NETWORK_NAMESPACE },
  pid: { file: "pid", name: PID_NAMESPACE },
};
/** Namespaces that criu joins by path. */
const BY_PATH: readonly LinuxNamespaceType[] = ["ipc", "uts"];

/** @throws TsrunError for what criu would lose, or restore as something else */
export function refuseWhatCriuCannot({ linux = {}, mounts = [] }: Spec): void {
  for (const { type, path } of linux.namespaces ?? []) {
    if (!path || BY_PATH.includes(type) || BY_DESCRIPTOR[type]) continue;
    throw new TsrunError(`a container that joins a ${type} namespace (${path}) cannot be checkpointed`, {
      fix: "give it one of its own",
    });
  }
  if (linux.seccomp?.listenerPath) {
    throw new TsrunError("a container with a seccomp listener cannot be checkpointed: the listener would be lost");
  }
  if (Object.keys(linux.netDevices ?? {}).length > 0) {
    throw new TsrunError("a container with linux.netDevices cannot be checkpointed: criu makes no devices");
  }
  mounts.forEach((mount, i) => {
    if (isBind(mount) || mountMappings(mount, linux) === undefined) return;
    throw new TsrunError(`mounts[${i}] ${mount.destination}: criu cannot restore the id mappings of a file system`);
  });
}

/** Its mounts are the host's, which criu would take for its own. */
export function refuseSharedMounts({ linux }: Spec): void {
  if (findNamespace(linux?.namespaces, "mount") !== undefined) return;
  throw new TsrunError("a container without a mount namespace can be neither checkpointed nor restored", {
    fix: "give it one of its own",
  });
}

/** What criu is told of, with --external, when it dumps this container. */
export function dumpedExternals(record: StateRecord, spec: Spec, hierarchies: CgroupHierarchies): string[] {
  const { pid } = record;
  const table = parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`));
  const names = [
    ...(spec.mounts ?? []).filter(isBind).map(nameOf),
    ...(record.cgroup ? cgroupBinds(spec, record.namespaces, record.cgroup, hierarchies).keys() : []),
  ];
  using root = new Fd(open(`/proc/${pid}/root`, O_PATH));
  const outside = names.flatMap((name) => {
    const id = mountAt(root.fd, name);
    return id === undefined ? [] : [{ name, mountId: id }];
  });
  return [...dumpedMounts(table, outside, hostNodes(spec)), ...joinedNamespaces(pid, spec)];
}

function joinedNamespaces(pid: number, { linux = {} }: Spec): string[] {
  return (linux.namespaces ?? []).flatMap(({ type, path }) => {
    const known = path ? BY_DESCRIPTOR[type] : undefined;
    if (known === undefined) return [];
    const inode = statSync(`/proc/${pid}/ns/${known.file}`)?.ino;
    return [`${known.file}[${inode}]:${known.name}`];
  });
}

/** The mount that holds a path of the container; undefined when the path is gone. */
function mountAt(root: number, path: string): number | undefined {
  try {
    using place = new Fd(resolveInRoot(root, path));
    return mountId(place.fd);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}

/** What each name of a mount stands for on this host. @param place where trees that are made already are found */
export function restoredSources(
  spec: Spec,
  created: number,
  cgroup: CgroupRecord | undefined,
  hierarchies: CgroupHierarchies,
  place: string,
): Map<string, string> {
  const sources = new Map(hostNodes(spec).map(({ path }) => [path, path]));
  spec.mounts?.forEach((mount, i) => {
    if (!isBind(mount)) return;
    const { source = "" } = mount;
    const name = nameOf(mount);
    const isMade = mountMappings(mount, spec.linux ?? {}) !== undefined;
    sources.set(name, isMade ? treeIn(place, `tree:${i}`) : source);
    if (isMade || !parseMountOptions(mount.options).rbind) return;
    for (const { point } of mountTable()) {
      if (point.startsWith(`${source}/`)) sources.set(name + point.slice(source.length), point);
    }
  });
  if (cgroup === undefined) return sources;
  return new Map([...sources, ...cgroupBinds(spec, created, cgroup, hierarchies)]);
}

/** Without a cgroup namespace of its own a mount of type cgroup shows directories of the host's. */
function cgroupBinds(
  { mounts = [] }: Spec,
  namespaces: number,
  cgroup: CgroupRecord,
  hierarchies: CgroupHierarchies,
): Map<string, string> {
  if ((namespaces & CLONE_NEWCGROUP) !== 0) return new Map();
  const ours = mounts.filter(({ type }) => type === "cgroup" || type === "cgroup2");
  return new Map(
    ours.flatMap((mount) =>
      cgroupViews(cgroup, hierarchies).map(({ name, path }) => [resolve(nameOf(mount), name), path] as const),
    ),
  );
}

/**
 * Where a bundle's mounts need a place which nobody else makes: in its root, or in a directory that is bound there and may
 * be another one by now. Those in other mounts come with these.
 */
export function mountTargets({ mounts = [] }: Spec): MountTarget[] {
  const names = mounts.map(nameOf);
  return mounts.flatMap((mount, i) => {
    const name = nameOf(mount);
    const kind = isBind(mount) && statSync(mount.source ?? "")?.isDirectory() === false ? "file" : "directory";
    const around = names.filter((other, j) => j !== i && name.startsWith(`${other}/`));
    if (around.length === 0) return [{ path: name, kind }];
    const nearest = around.reduce((best, other) => (other.length > best.length ? other : best));
    const outer = mounts[names.lastIndexOf(nearest)] as Mount;
    const { source } = outer;
    const isReadonly = (parseMountOptions(outer.options).attrSet & MOUNT_ATTR_RDONLY) !== 0;
    if (!isBind(outer) || source === undefined || isReadonly) return [];
    return [{ path: name.slice(nearest.length), kind, source }];
  });
}

/** Descriptors and paths of namespaces that are joined, from paths in the bundle. */
export function restoredNamespaces({ linux = {} }: Spec): {
  byDescriptor: { type: LinuxNamespaceType; key: string }[];
  byPath: { type: string; file: string }[];
} {
  const joined = (linux.namespaces ?? []).filter(({ path }) => path);
  return {
    byDescriptor: joined.flatMap(({ type }) => {
      const known = BY_DESCRIPTOR[type];
      return known === undefined ? [] : [{ type, key: known.name }];
    }),
    byPath: joined.flatMap(({ type, path }) => (BY_PATH.includes(type) ? [{ type, file: path as string }] : [])),
  };
}

/** What standard input, output and error of a process are: criu's names where they lead outside, else what /proc says. */
export function stdioNames(pid: number): string[] {
  const mounts = new Set(parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`)).map(({ id }) => id));
  return [0, 1, 2].map((fd) => {
    const path = `/proc/${pid}/fd/${fd}`;
    let target: string;
    try {
      target = readlinkSync(path);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return ""; // closed
      throw error;
    }
    if (isOutside(target) || !target.startsWith("/")) return target;
    using file = new Fd(open(path, O_PATH));
    const mount = mountId(file.fd);
    if (mounts.has(mount)) return target;
    const { ino, dev, rdev } = fstatSync(file.fd);
    return isTerminalOf(pid, fd) ? terminalName(rdev, dev) : fileName(mount, ino);
  });
}

/** Asked of the very descriptor: opening the file anew may block, or change the terminal. */
function isTerminalOf(pid: number, fd: number): boolean {
  using process = new Fd(pidfdOpen(pid));
  const copy = pidfdGetFd(process.fd, fd);
  if (copy === undefined) return false;
  using held = new Fd(copy);
  return fstatSync(held.fd).isCharacterDevice() && isTerminal(held.fd);
}

/** Major 1, minor 3, as stat(2) is read here. */
const NULL_DEVICE = 0x100003;

/** Those of stdioNames() that are the null device of the host: nothing else can take their place, and nothing need. */
export function nullNames(pid: number, names: readonly string[]): string[] {
  const isNull = (name: string, fd: number) =>
    isOutsideFile(name) && statSync(`/proc/${pid}/fd/${fd}`)?.rdev === NULL_DEVICE;
  return [...new Set(names.filter(isNull))];
}

/** The host's nodes that are bound in containers: the null device over masked paths and, in a user namespace, all. */
function hostNodes({ linux = {} }: Spec): HostNode[] {
  const paths = new Set([...DEFAULT_DEVICES, ...(linux.devices ?? [])].map(({ path }) => path));
  return [...paths].flatMap((path) => {
    const found = statSync(path);
    if (found === undefined) return [];
    return [{ path, device: `${Math.floor(found.dev / 0x100000)}:${found.dev % 0x100000}` }];
  });
}

function isBind({ type, options }: Mount): boolean {
  return type === "bind" || (options ?? []).some((word) => word === "bind" || word === "rbind");
}

function nameOf({ destination }: Mount): string {
  return resolve("/", destination);
}
