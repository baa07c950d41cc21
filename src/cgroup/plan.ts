/**
 * What createCgroup is about to make, told before: kept in the state, so that whatever a killed tsrun has made is found,
 * and shown by `tsrun plan`.
 */
import { TsrunError } from "../errors.ts";
import type { LinuxResources } from "../spec/types.ts";
import { existsSync } from "../sys/fs.ts";
import { machineKills } from "./oom-past.ts";
import { baseOf, requestedPath } from "./path.ts";
import type { CgroupRecord, CgroupRequest } from "./record.ts";
import { resourceWrites } from "./resources.ts";
import { newUnit, type UnitRecord } from "./systemd/unit.ts";
import { isScope } from "./tally.ts";

/** The record that createCgroup gives when every hierarchy lets it. Touches nothing. @throws SpecError */
export function planCgroup(request: CgroupRequest): CgroupRecord {
  const { layout, v1, unified } = request.hierarchies;
  const record: CgroupRecord = { layout, paths: {}, made: [], planned: true };
  if (request.disabled) {
    refuseLimits(request.resources, layout);
    return record;
  }
  if (request.systemd !== undefined) record.systemd = newUnit(request.systemd);
  if (record.systemd && isScope(record)) noteKills(record.systemd);
  const path = requestedPath(request);
  for (const hierarchy of unified ? [...v1, unified] : v1) {
    let dir = baseOf(hierarchy, path, layout);
    let isMissing = false;
    for (const name of path.names) {
      dir = `${dir}/${name}`;
      isMissing ||= !existsSync(dir);
      // On v2 all of them are systemd's.
      if (isMissing && !(layout === "v2" && record.systemd)) record.made.push(dir);
    }
    if (hierarchy.controllers.length === 0) record.paths[""] = dir;
    for (const controller of hierarchy.controllers) record.paths[controller] = dir;
  }
  return record;
}

/** What is killed from now on may be a process of the unit's. */
function noteKills(unit: UnitRecord): void {
  const count = machineKills();
  if (count !== undefined) unit.oomKillsBefore = count;
}

/** Without a cgroup there is nothing to limit; device rules, which every config has, are not a limit that was asked. */
function refuseLimits(resources: LinuxResources = {}, layout: CgroupRecord["layout"]): void {
  const first = resourceWrites(resources, layout === "v2" ? 2 : 1)[0];
  if (first === undefined) return;
  throw new TsrunError(`cannot set ${first.controller} limit: --cgroup-manager disabled makes no cgroup`, {
    fix: "remove the limits from linux.resources, or let a cgroup be made",
  });
}

/** One line for each limit: the file of cgroupfs and what is written to it. */
export function describeWrites(record: CgroupRecord, resources: LinuxResources | undefined): string[] {
  if (resources === undefined || record.layout === "none") return [];
  const version = record.layout === "v2" ? 2 : 1;
  return resourceWrites(resources, version).flatMap(({ controller, writes }) => {
    const dir = record.paths[version === 2 ? "" : controller] ?? `(${controller})`;
    return writes.map(({ file, value }) => `write ${value} to ${dir}/${file}`);
  });
}
