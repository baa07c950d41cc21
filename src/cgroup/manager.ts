/**
 * The cgroup of a container, on v1, hybrid and v2, by cgroupfs: made with its limits before any process is there,
 * joined by the native init, emptied and removed in the end. Rules: cgroups(7); OCI config-linux.md "Control groups".
 */
import { isErrno, TsrunError } from "../errors.ts";
import { warn } from "../log.ts";
import { dirname } from "../path.ts";
import { existsSync } from "../sys/fs.ts";
import { applyChecked } from "./check-usage.ts";
import { isFrozenAnyhow } from "./freezer.ts";
import type { Hierarchy } from "./hierarchies.ts";
import { mayMove } from "./join.ts";
import { killCgroup } from "./kill.ts";
import { limitDevices } from "./limit-devices.ts";
import { directories, explainDenied, makeGroup, noteOthers } from "./make.ts";
import { chownGroup } from "./owner.ts";
import { type CgroupPath, requestedPath } from "./path.ts";
import { type CgroupRecord, type CgroupRequest, freezerOf } from "./record.ts";
import { removeGroup, removeIfUnused } from "./remove.ts";
import { resourceWarnings, resourceWrites } from "./resources.ts";
import { isTight, joinRest, startScope, stopScope, withRoom } from "./systemd/scope.ts";
import { isScope } from "./tally.ts";
import { updateCgroup } from "./update.ts";
import { inheritCpuset } from "./v1/inherit.ts";
import { enableControllers } from "./v2/controllers.ts";

const SIGKILL = 9;

// What the rest of the program sees of cgroups.
export { type CgroupHierarchies, type CgroupLayout, detectCgroups } from "./hierarchies.ts";
export { type CgroupJoin, joinFds, processCgroups } from "./join.ts";
export { killCgroup } from "./kill.ts";
export { cgroupOwner } from "./owner.ts";
export { freeze, isFrozen, thaw } from "./pause.ts";
export { type CgroupRecord, type CgroupRequest, cgroupProcesses, hasOwnProcesses } from "./record.ts";

/**
 * Makes the cgroup in every hierarchy and sets its limits.
 *
 * @throws TsrunError when it cannot; nothing is left behind then
 */
export function createCgroup(request: CgroupRequest): CgroupRecord {
  const { layout } = request.hierarchies;
  if (request.disabled) return { layout, paths: {}, made: [] };
  return fill(request, { layout, paths: {}, made: [] });
}

/**
 * As createCgroup, where systemd makes it: a unit begins with its first process.
 *
 * @param planned what planCgroup gave for the request
 * @param pid the process, which is to wait meanwhile
 */
export function createScope(request: CgroupRequest, planned: CgroupRecord, pid: number): CgroupRecord {
  const { layout, paths, systemd } = planned;
  // Before systemd puts a process there, which could not even be stopped any more.
  refuseFrozen({ layout, paths, made: [] });
  let others: number;
  try {
    others = startScope(request, planned, pid);
  } catch (error) {
    undoCreate(planned);
    throw error;
  }
  const resources = isTight(request.resources) ? withRoom(request.resources) : request.resources;
  const empty: CgroupRecord = { layout, paths: {}, made: [], ...(systemd && { systemd }) };
  if (others > 0) noteOthers(others, Object.values(paths)[0] ?? "", request, empty);
  const record = fill({ ...request, resources }, empty);
  joinRest(record, pid);
  return record;
}

/** Once the first process of createScope has ended: the limit that had no room for it. */
export function settleScope(request: CgroupRequest, record: CgroupRecord): void {
  if (isTight(request.resources)) updateCgroup(record, { pids: { limit: 1 } }, {}, () => {});
}

/** The limits of a cgroup that criu has made with what its images hold, at the place that vacateCgroup has left. */
export function limitRestored(request: CgroupRequest, { layout, made }: CgroupRecord): CgroupRecord {
  return fill({ ...request, isOccupied: true }, { layout, paths: {}, made });
}

function fill(request: CgroupRequest, record: CgroupRecord): CgroupRecord {
  const { layout, v1, unified } = request.hierarchies;
  const path = requestedPath(request);
  try {
    if (layout === "v2") createV2(request, path, unified as Hierarchy, record);
    else createV1(request, path, v1, unified, record);
  } catch (error) {
    undoCreate(record);
    throw request.rootless ? explainDenied(error) : error;
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
  // criu has made it with its device rules, and once it has cgroups below the kernel takes no others.
  if (!request.isOccupied) limitDevices(request, record);
}

/**
 * In a hybrid layout the v2 hierarchy carries no limits; its cgroup is for kill, pressure and eBPF only. One that was
 * made, and may not be joined, goes with the others.
 */
function joinUnified(request: CgroupRequest, path: CgroupPath, unified: Hierarchy, record: CgroupRecord): void {
  try {
    const dir = makeGroup(request, path, unified, record);
    if (dir !== undefined && (!request.rootless || mayMove(unified.own, dir))) record.paths[""] = dir;
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

function undoCreate(record: CgroupRecord): void {
  try {
    destroyCgroup(record);
  } catch {
    // What failed before is the error to report.
  }
}

/**
 * Removes what createCgroup made, and the cgroups that the container made below. Parents that others use stay.
 *
 * @throws TsrunError naming the processes that are left, when there are some after 2 s
 */
export function destroyCgroup(record: CgroupRecord, options: { kill?: boolean } = {}): void {
  // Of the name of a scope there may be another one by now: systemd is asked whose it is first.
  if (options.kill && (record.planned || !isScope(record))) killCgroup(record, SIGKILL);
  warnOfUnseen(record);
  stopScope(record, options);
  for (const { path, leaf } of removalOrder(record)) {
    if (leaf) removeGroup(path);
    else removeIfUnused(path);
  }
}

/** Where cgroups are not mounted, what is there looks like what is gone. */
function warnOfUnseen({ made: [first] }: CgroupRecord): void {
  if (first === undefined || existsSync(first)) return;
  let above = dirname(first);
  while (above !== "/" && !existsSync(above)) above = dirname(above);
  if (!existsSync(`${above}/cgroup.procs`)) {
    warn(
      `cgroup ${first}, and those in other hierarchies, may be left: no file system of cgroups is mounted at ${above}`,
    );
  }
}

/** What to remove, in order. A leaf is the container's own with all below it; others only go when nobody uses them. */
export function removalOrder({ paths, made }: CgroupRecord): { path: string; leaf: boolean }[] {
  const leaves = new Set(Object.values(paths));
  // While create is not through, a cgroup may have been made that is in no path yet: it has nothing below.
  return made.toReversed().map((path) => ({ path, leaf: leaves.has(path) }));
}
