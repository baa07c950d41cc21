/**
 * The cgroup of a container as that of a unit: what is done through systemd beside the files, which are written as by
 * the cgroupfs driver. Rules: runc's docs/systemd.md; systemd's "Control Group APIs and Delegation".
 */
import { TsrunError } from "../../errors.ts";
import type { LinuxResources } from "../../spec/types.ts";
import { existsSync, readFileSync } from "../../sys/fs.ts";
import { waitUntil } from "../../sys/wait.ts";
import { groupProcesses } from "../files.ts";
import type { Journal } from "../journal.ts";
import { killCgroup } from "../kill.ts";
import { deviceRulesOf } from "../limit-devices.ts";
import type { CgroupRecord, CgroupRequest } from "../record.ts";
import { LeftError, removeGroup, removeIfUnused } from "../remove.ts";
import { resourceWrites } from "../resources.ts";
import { removeBelow } from "../tree.ts";
import type { ControllerWrites } from "../write.ts";
import { writeFile } from "../write.ts";
import { deviceProperties } from "./devices.ts";
import { limitProperties, needsRelease, type UnitProperty } from "./properties.ts";
import { isSlice, setUnitLimits, startUnit, stopUnit, type UnitRecord } from "./unit.ts";

/** How long systemd has to notice that a cgroup is empty. */
const NOTICE_MS = 1000;
/** How long a process may take to end after SIGKILL. */
const END_MS = 2000;
const SIGKILL = 9;

/**
 * Has systemd make the cgroup around the process `pid`, limits included.
 *
 * @returns how many processes of others are in it
 * @throws TsrunError
 */
export function startScope(request: CgroupRequest, planned: CgroupRecord, pid: number): number {
  const { systemd } = request;
  const record = planned.systemd;
  if (systemd === undefined || record === undefined) throw new TsrunError("no unit was planned");
  const version = versionOf(planned);
  const writes = resourceWrites(request.resources ?? {}, version);
  // The first process makes the container's and ends: for a moment there are two.
  const roomy = isTight(request.resources) ? resourceWrites(withRoom(request.resources), version) : writes;
  const devices = version === 1 && !request.rootless ? deviceProperties(deviceRulesOf(request), devicesOf()) : [];
  return startUnit({
    id: request.id,
    record,
    request: systemd,
    pid,
    limits: (release) => [...limitProperties(roomy, version, release), ...devices],
    needsRelease: needsRelease(writes),
    isV2: version === 2,
    directory: directoryOf(planned),
  });
}

/**
 * Puts the process where systemd does not: into a slice, and into the v1 hierarchies that it leaves alone.
 * systemd has its own by now, so that no process is moved twice.
 */
export function joinRest(record: CgroupRecord, pid: number): void {
  if (record.systemd === undefined) return;
  if (record.layout === "v2" && !isSlice(record.systemd)) return;
  for (const dir of new Set(Object.values(record.paths))) writeFile(`${dir}/cgroup.procs`, String(pid));
}

/** May the container have one process alone? Then the limit waits until the first process has ended. */
export function isTight(resources: LinuxResources | undefined): boolean {
  const limit = resources?.pids?.limit;
  return limit === 0 || limit === 1;
}

export function withRoom(resources: LinuxResources | undefined): LinuxResources {
  return { ...resources, pids: { limit: 2 } };
}

/** Tells systemd of new limits, given as writes. */
export function updateScope(
  record: UnitRecord,
  list: readonly ControllerWrites[],
  version: 1 | 2,
  journal?: Journal,
): void {
  const limits = (release: number): UnitProperty[] => limitProperties(list, version, release);
  setUnitLimits(record, limits, needsRelease(list), journal);
}

/**
 * Stops the unit, and with it goes its cgroup.
 *
 * @param options `kill` what is left where there is no unit any more, or nobody to ask for it
 * @throws TsrunError naming the processes that SIGKILL does not end, or when systemd is away or cannot stop it, and
 * something is left of it
 */
export function stopScope(record: CgroupRecord, options: { kill?: boolean } = {}): void {
  const { systemd: unit } = record;
  if (unit === undefined) return;
  const paths = [...new Set(Object.values(record.paths))];
  const areGone = () => paths.every((dir) => !existsSync(dir));
  const isOurs = !record.planned && !record.shared && !isSlice(unit);
  try {
    const found = stopUnit(unit, () => {
      if (!isSlice(unit)) endProcesses(record);
    });
    if (found !== "gone" || !isOurs) return;
    if (options.kill) killCgroup(record, SIGKILL);
    removeGivenUp(paths.filter((dir) => !record.made.includes(dir)));
  } catch (error) {
    if (error instanceof LeftError) throw error;
    // Out of our reach it may still hear of the end from the kernel, and must do so before the directory is gone. Without
    // it the directories are ours to remove, once we know that they were the container's.
    if (options.kill && !record.planned) killCgroup(record, SIGKILL);
    if (!record.planned && !waitUntil(areGone, NOTICE_MS)) {
      for (const dir of paths) {
        removeBelow(dir);
        removeIfUnused(dir);
      }
    }
    if (!areGone()) throw error;
  }
}

/** Whose processes do not end in its time is given up by systemd: the unit is gone, and its cgroups are not. */
function removeGivenUp(paths: readonly string[]): void {
  if (waitUntil(() => paths.every((dir) => !existsSync(dir)), NOTICE_MS)) return;
  for (const dir of paths) removeGroup(dir);
}

/**
 * Asked to stop a unit with processes, systemd waits for these for as long as TimeoutStopSec twice, and then gives the
 * unit up. So it is asked when there are none.
 */
function endProcesses({ layout, paths }: CgroupRecord): void {
  const record: CgroupRecord = { layout, paths, made: [] };
  killCgroup(record, SIGKILL);
  const dir = directoryOf(record);
  if (!waitUntil(() => groupProcesses(dir).length === 0, END_MS)) throw new LeftError(dir);
}

function versionOf({ layout }: CgroupRecord): 1 | 2 {
  return layout === "v2" ? 2 : 1;
}

/** Where the unit's processes are seen: the hierarchy that systemd itself lives in. */
function directoryOf({ paths }: CgroupRecord): string {
  return paths["name=systemd"] ?? paths[""] ?? Object.values(paths)[0] ?? "";
}

function devicesOf(): string {
  return readFileSync("/proc/devices");
}
