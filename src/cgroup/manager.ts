/**
 * The cgroup of a container, on v1, hybrid and v2, by cgroupfs: made with its limits before any process is there,
 * joined by the native init, emptied and removed in the end. Rules: cgroups(7); OCI config-linux.md "Control groups".
 */
import { isErrno, SyscallError, TsrunError } from "../errors.ts";
import type { LinuxDevice, LinuxResources } from "../spec/types.ts";
import { mkdirSync } from "../sys/fs.ts";
import { kill } from "../sys/process.ts";
import { attachDeviceFilter, attachedFilters, detachFilters } from "./device-attach.ts";
import { defaultDeviceFilter, deviceFilter } from "./device-filter.ts";
import { allowsEverything, type DeviceRule, deviceRules, isDefaultRules } from "./device-rules.ts";
import { groupProcesses, readGroupFile, waitUntil } from "./files.ts";
import { type Freezer, freezeGroup, isFrozenAnyhow, isSelfFrozen, thawGroup } from "./freezer.ts";
import {
  type CgroupHierarchies,
  type CgroupLayout,
  directoryOf,
  type Hierarchy,
  parseCgroupFile,
} from "./hierarchies.ts";
import { chownGroup } from "./owner.ts";
import { baseOf, type CgroupPath, cgroupPath } from "./path.ts";
import { removeGroup, removeIfUnused } from "./remove.ts";
import { resourceWarnings, resourceWrites } from "./resources.ts";
import { DEFAULT_DEVICE_WRITES, deviceWrites } from "./v1/devices.ts";
import { inheritCpuset } from "./v1/inherit.ts";
import { enableControllers } from "./v2/controllers.ts";
import { applyWrites, type CgroupWrite, codeOf, writeFile } from "./write.ts";

const SIGKILL = 9;

export { detectCgroups } from "./hierarchies.ts";
export { cgroupOwner } from "./owner.ts";
export type { CgroupHierarchies, CgroupLayout };

export interface CgroupRequest {
  id: string;
  cgroupsPath?: string | undefined;
  resources?: LinuxResources | undefined;
  /** `linux.devices`: one at the path of a default device takes the place of that one's rule. */
  devices?: LinuxDevice[] | undefined;
  /**
   * We lack root's rights over cgroups: euid not 0, or in a user namespace. A cgroup that may not be made is done
   * without then, unless its path or a limit was asked.
   */
  rootless: boolean;
  /** The uid that the cgroup is given to on v2; see cgroupOwner. */
  owner?: number | undefined;
  hierarchies: CgroupHierarchies;
  /** Hears of what was asked and is ignored. */
  warn?: ((message: string) => void) | undefined;
}

/** What create made, as kept in state.json. */
export interface CgroupRecord {
  layout: CgroupLayout;
  /** Controller, "name=..." or "" for v2, and the absolute directory of its cgroup. */
  paths: Record<string, string>;
  /** Directories that create made, parents first; only these, and what is below them, are ever removed. */
  made: string[];
  /** Written down beforehand, see planCgroup: what was there already may hold processes of others. */
  planned?: true;
  /** Processes of others were there already: they are not the container's to end. */
  shared?: true;
}

/**
 * Makes the cgroup in every hierarchy and sets its limits.
 *
 * @throws TsrunError when it cannot; nothing is left behind then
 */
export function createCgroup(request: CgroupRequest): CgroupRecord {
  const { layout, v1, unified } = request.hierarchies;
  const record: CgroupRecord = { layout, paths: {}, made: [] };
  const path = cgroupPath(request.cgroupsPath, request.id);
  try {
    if (layout === "v2") createV2(request, path, unified as Hierarchy, record);
    else createV1(request, path, v1, unified, record);
  } catch (error) {
    undoCreate(record);
    throw error;
  }
  return record;
}

function createV1(
  request: CgroupRequest,
  path: CgroupPath,
  v1: readonly Hierarchy[],
  unified: Hierarchy | undefined,
  record: CgroupRecord,
): void {
  const resources = request.resources ?? {};
  const wanted = resourceWrites(resources, 1);
  for (const hierarchy of v1) {
    const dir = makeGroup(request, path, hierarchy, record);
    if (dir === undefined) continue;
    for (const name of hierarchy.controllers) {
      record.paths[name] = dir;
      if (name === "cpuset") inheritCpuset(directories(hierarchy.mount, dir), record.made);
    }
  }
  if (unified !== undefined) joinUnified(request, path, unified, record);
  refuseFrozen(record);
  for (const { controller, writes } of wanted) {
    const dir = record.paths[controller];
    if (dir === undefined) throw noController(controller, v1);
    applyChecked(dir, controller, writes, resources);
  }
  for (const warning of resourceWarnings(resources, 1)) request.warn?.(warning);
  limitDevices(request, record);
}

/** In a hybrid layout the v2 hierarchy carries no limits; its cgroup is for kill, pressure and eBPF only. */
function joinUnified(request: CgroupRequest, path: CgroupPath, unified: Hierarchy, record: CgroupRecord): void {
  try {
    const dir = makeGroup(request, path, unified, record);
    if (dir !== undefined) record.paths[""] = dir;
  } catch (error) {
    // A read-only one, say: the container works without.
    if (!isErrno(error, "EROFS", "EACCES", "EPERM")) throw error;
  }
}

function createV2(request: CgroupRequest, path: CgroupPath, unified: Hierarchy, record: CgroupRecord): void {
  const resources = request.resources ?? {};
  const wanted = resourceWrites(resources, 2);
  const needed = wanted.map(({ controller }) => controller);
  const dir = makeGroup(request, path, unified, record);
  if (dir === undefined) {
    const first = needed[0];
    if (first === undefined) return;
    throw new TsrunError(
      `cannot set ${first} limit: rootless needs no limits + no cgrouppath when no permission is granted for cgroups`,
      { fix: `delegate a cgroup to this user, or remove linux.resources.${first}` },
    );
  }
  record.paths[""] = dir;
  enableControllers(directories(unified.mount, dir), record.made, needed);
  refuseFrozen(record);
  for (const { controller, writes } of wanted) applyChecked(dir, controller, writes, resources);
  for (const warning of resourceWarnings(resources, 2)) request.warn?.(warning);
  limitDevices(request, record);
  if (request.owner !== undefined) chownGroup(dir, request.owner);
}

/** Makes one cgroup of the container; undefined when rootless, nobody asked for it and it may not be made. */
function makeGroup(
  request: CgroupRequest,
  path: CgroupPath,
  hierarchy: Hierarchy,
  record: CgroupRecord,
): string | undefined {
  const base = baseOf(hierarchy, path, record.layout);
  const dir = `${base}/${path.names.join("/")}`;
  try {
    if (!makeDirectories(base, path.names, record.made)) noteOccupied(dir, request, record);
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) throw new TsrunError(`cannot make cgroup ${dir}: a file of cgroupfs has this name`);
    const denied = isErrno(error, "EACCES", "EPERM", "EROFS");
    if (denied && request.rootless && !request.cgroupsPath) return undefined;
    throw error;
  }
  return dir;
}

/** Each directory from `mount` to `dir`, both included. */
export function directories(mount: string, dir: string): string[] {
  const dirs = [mount];
  let current = mount;
  for (const name of dir.slice(mount.length).split("/")) {
    if (name === "") continue;
    current = `${current}/${name}`;
    dirs.push(current);
  }
  return dirs;
}

/** Makes a directory and those above it that are missing; false when it was there already. */
function makeDirectories(base: string, names: readonly string[], made: string[]): boolean {
  const dir = `${base}/${names.join("/")}`;
  // Another container's delete may take a parent away in between: some attempts, each from the top.
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(dir, { mode: 0o755 });
      made.push(dir);
      return true;
    } catch (error) {
      if (isErrno(error, "EEXIST")) return false;
      if (!isErrno(error, "ENOENT") || attempt === 10) throw mkdirError(dir, error);
    }
    if (names.length === 1) throw new TsrunError(`cannot make cgroup ${dir}: ${base} is gone`);
    makeDirectories(base, names.slice(0, -1), made);
  }
}

/** What the kernel means when it refuses a new cgroup; kernel/cgroup/cgroup.c, mm/memcontrol.c. */
const MKDIR_FIXES: Record<string, string> = {
  EAGAIN: "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached",
  ENOSPC: "the kernel has no number left for a memory cgroup: many removed ones still hold memory",
  EINVAL: "no cgroup may have this name",
};

function mkdirError(dir: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === "ENOENT") return new TsrunError(`cannot make cgroup ${dir}: the one above it is gone`);
  const fix = MKDIR_FIXES[code];
  return new SyscallError("mkdir", code, fix === undefined ? { path: dir } : { path: dir, fix });
}

/** A cgroup that has processes already is used, as under runc 1.1, with a warning: the limits hit them too. */
function noteOccupied(dir: string, request: CgroupRequest, record: CgroupRecord): void {
  if (record.shared) return;
  const { length } = groupProcesses(dir);
  if (length === 0) return;
  record.shared = true;
  request.warn?.(
    `container's cgroup is not empty: ${length} process(es) found in ${dir}; the container's limits are theirs too`,
  );
}

function refuseFrozen(record: CgroupRecord): void {
  const freezer = freezerOf(record);
  if (freezer === undefined || !isFrozenAnyhow(freezer)) return;
  throw new TsrunError(`container's cgroup unexpectedly frozen: ${freezer.dir}`, {
    fix: "thaw it, or the cgroup above it",
  });
}

function noController(controller: string, v1: readonly Hierarchy[]): TsrunError {
  // Mounted, but the cgroup could not be made: only rootless gets here.
  if (v1.some(({ controllers }) => controllers.includes(controller))) {
    return new TsrunError(`cannot set ${controller} limit: container could not join or create cgroup`, {
      fix: `delegate a cgroup to this user, or remove the limits of ${controller}`,
    });
  }
  return new TsrunError(`cannot set ${controller} limit: controller ${controller} is not available`, {
    fix: "no cgroup v1 hierarchy with it is mounted",
  });
}

/** As applyWrites; before a memory limit the usage is looked at, when that was asked. */
export function applyChecked(dir: string, controller: string, writes: CgroupWrite[], resources: LinuxResources): void {
  if (controller === "memory" && resources.memory?.checkBeforeUpdate) checkUsage(dir, resources);
  applyWrites(dir, controller, writes);
}

/** OCI checkBeforeUpdate: a limit below what is used already is refused rather than followed by the OOM killer. */
function checkUsage(dir: string, { memory }: LinuxResources): void {
  const usage = Number(readGroupFile(`${dir}/memory.current`) ?? readGroupFile(`${dir}/memory.usage_in_bytes`) ?? 0);
  for (const [name, limit = 0] of [
    ["limit", memory?.limit],
    ["swap", memory?.swap],
  ] as const) {
    if (limit > 0 && limit <= usage) {
      throw new TsrunError(
        `cannot set memory limit: linux.resources.memory.${name} ${limit} is below the usage, ${usage}`,
      );
    }
  }
}

/** Device rules: v1 by its devices controller, v2 (or a hybrid layout without that one) by an eBPF program. */
function limitDevices(request: CgroupRequest, record: CgroupRecord): void {
  const dir = record.paths.devices;
  const unified = record.paths[""];
  try {
    if (dir !== undefined) applyWrites(dir, "devices", deviceWritesOf(request));
    else if (unified !== undefined) limitByFilter(request, unified, record.made.includes(unified));
    else if (record.layout !== "none" && !request.rootless && !allowsEverything(deviceRulesOf(request))) {
      throw new TsrunError("cannot limit devices: no cgroup with a devices controller");
    }
  } catch (error) {
    // Without root's rights neither version lets us limit devices, and a process of ours can make no node to open.
    if (request.rootless && isErrno(error, "EPERM", "EACCES", "EROFS")) return;
    throw error;
  }
}

function limitByFilter(request: CgroupRequest, dir: string, isNew: boolean): void {
  // What an earlier container left on a cgroup would limit this one too.
  const earlier = isNew ? [] : attachedFilters(dir);
  if (hasDefaultRules(request)) attachDeviceFilter(dir, defaultDeviceFilter());
  else {
    const rules = deviceRulesOf(request);
    if (!allowsEverything(rules)) attachDeviceFilter(dir, deviceFilter(rules));
  }
  detachFilters(dir, earlier);
}

function deviceWritesOf(request: CgroupRequest): readonly CgroupWrite[] {
  return hasDefaultRules(request) ? DEFAULT_DEVICE_WRITES : deviceWrites(deviceRulesOf(request));
}

function hasDefaultRules({ resources, devices }: CgroupRequest): boolean {
  return isDefaultRules(resources?.devices, devices);
}

function deviceRulesOf({ resources, devices }: CgroupRequest): DeviceRule[] {
  return deviceRules(resources?.devices, devices);
}

function undoCreate(record: CgroupRecord): void {
  try {
    destroyCgroup(record);
  } catch {
    // What failed before is the error to report.
  }
}

/** How the init joins: on v1 it writes "0" to each tasks file; the directory is for CLONE_INTO_CGROUP. */
export interface CgroupJoin {
  /** The first controller; "unified" for v2. */
  name: string;
  path: string;
  kind: "tasks" | "directory";
}

export function joinFds({ paths }: Pick<CgroupRecord, "paths">): CgroupJoin[] {
  const joins: CgroupJoin[] = [];
  const seen = new Set<string>();
  for (const [controller, dir] of Object.entries(paths)) {
    if (seen.has(dir)) continue;
    seen.add(dir);
    if (controller === "") joins.push({ name: "unified", path: dir, kind: "directory" });
    else joins.push({ name: controller, path: `${dir}/tasks`, kind: "tasks" });
  }
  return joins;
}

/**
 * Removes what createCgroup made, and the cgroups that the container made below. Parents that others use stay.
 *
 * @throws TsrunError naming the processes that are left, when there are some after 2 s
 */
export function destroyCgroup(record: CgroupRecord, options: { kill?: boolean } = {}): void {
  if (options.kill) killCgroup(record, SIGKILL);
  for (const { path, leaf } of removalOrder(record)) {
    if (leaf) removeGroup(path);
    else removeIfUnused(path);
  }
}

/** What to remove, in order. A leaf is the container's own with all below it; others only go when nobody uses them. */
export function removalOrder({ paths, made }: CgroupRecord): { path: string; leaf: boolean }[] {
  const leaves = new Set(Object.values(paths));
  // While create is not through, a cgroup may have been made that is in no path yet: it has nothing below.
  return made.toReversed().map((path) => ({ path, leaf: leaves.has(path) }));
}

/** Are there processes in the container's cgroup, and all of them the container's? */
export function hasOwnProcesses(record: CgroupRecord): boolean {
  return !record.shared && cgroupProcesses(record).length > 0;
}

/** Pids in the container's cgroup and those below, as we see them. */
export function cgroupProcesses(record: CgroupRecord): number[] {
  const dir = processDirectory(record);
  return dir === undefined ? [] : groupProcesses(dir);
}

/** The cgroup whose processes are the container's: v2; else any of v1 (devices is the hardest to leave). */
function processDirectory(record: CgroupRecord): string | undefined {
  const paths = ownPaths(record);
  if (record.layout === "v2") return paths[""];
  return paths.devices ?? paths.freezer ?? paths.pids ?? Object.values(paths)[0];
}

function freezerOf(record: CgroupRecord): Freezer | undefined {
  const paths = ownPaths(record);
  if (paths.freezer !== undefined) return { dir: paths.freezer, version: 1 };
  return paths[""] === undefined ? undefined : { dir: paths[""], version: 2 };
}

/** The cgroups that are surely the container's. */
function ownPaths({ paths, made, planned }: CgroupRecord): Record<string, string> {
  if (!planned) return paths;
  return Object.fromEntries(Object.entries(paths).filter(([, dir]) => made.includes(dir)));
}

/**
 * Sends a signal to every process of the cgroup, unless it had processes before the container.
 * SIGKILL is repeated until none is left or 2 s are over.
 *
 * @throws SyscallError when we may not signal one of them
 */
export function killCgroup(record: CgroupRecord, signal: number): void {
  if (record.shared) return;
  if (signal !== SIGKILL) {
    signalAll(cgroupProcesses(record), signal);
    return;
  }
  const whole = killWhole(ownPaths(record)[""]);
  if (whole && record.layout === "v2") return;
  const freezer = freezerOf(record);
  waitUntil(() => {
    if (cgroupProcesses(record).length === 0) return true;
    // Frozen, they cannot fork away from us; a v1 freezer keeps them from dying until thawed.
    if (freezer !== undefined) freezeQuietly(freezer);
    try {
      signalAll(cgroupProcesses(record), signal);
    } finally {
      if (freezer !== undefined) thawGroup(freezer);
    }
    return false;
  }, 2000);
}

/** cgroup.kill, since Linux 5.14. */
function killWhole(dir: string | undefined): boolean {
  if (dir === undefined) return true;
  try {
    writeFile(`${dir}/cgroup.kill`, "1");
    return true;
  } catch (error) {
    if (isErrno(error, "ENODEV")) return true;
    // ENOENT: an older kernel, or the cgroup is gone. EOPNOTSUPP: threaded.
    if (isErrno(error, "ENOENT", "EOPNOTSUPP")) return false;
    throw error;
  }
}

function freezeQuietly(freezer: Freezer): void {
  try {
    freezeGroup(freezer);
  } catch {
    // It was thawed again; killing works without, in more rounds perhaps.
  }
}

function signalAll(pids: readonly number[], signal: number): void {
  for (const pid of pids) {
    try {
      kill(pid, signal);
    } catch (error) {
      // It ended meanwhile.
      if (!isErrno(error, "ESRCH")) throw error;
    }
  }
}

/** @throws TsrunError when there is no freezer, or it does not freeze within 2 s */
export function freeze(record: CgroupRecord): void {
  freezeGroup(freezerOrThrow(record));
}

export function thaw(record: CgroupRecord): void {
  thawGroup(freezerOrThrow(record));
}

export function isFrozen(record: CgroupRecord): boolean {
  const freezer = freezerOf(record);
  return freezer !== undefined && isSelfFrozen(freezer);
}

function freezerOrThrow(record: CgroupRecord): Freezer {
  const freezer = freezerOf(record);
  if (freezer === undefined) throw new TsrunError("cannot toggle freezer: the container has no cgroup that freezes");
  return freezer;
}

/**
 * The cgroups that a process is in now, by controller ("" for v2), for a process that is to join it: a container
 * with its own init system moves its processes.
 *
 * @returns undefined when the process is gone
 */
export function processCgroups(pid: number, { v1, unified }: CgroupHierarchies): Record<string, string> | undefined {
  const text = readGroupFile(`/proc/${pid}/cgroup`);
  if (text === undefined) return undefined;
  const paths: Record<string, string> = {};
  for (const { controllers, path } of parseCgroupFile(text)) {
    const first = controllers[0];
    const hierarchy = first === undefined ? unified : v1.find((h) => h.controllers.includes(first));
    if (hierarchy === undefined) continue;
    const dir = directoryOf(hierarchy, path);
    if (first === undefined) paths[""] = dir;
    else for (const name of controllers) paths[name] = dir;
  }
  return paths;
}
