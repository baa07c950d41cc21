/**
 * What createCgroup is about to make, told before: kept in the state, so that whatever a killed tsrun has made is found,
 * and shown by `tsrun plan`.
 */
import type { LinuxResources } from "../spec/types.ts";
import { existsSync } from "../sys/fs.ts";
import { baseOf, cgroupPath } from "./path.ts";
import type { CgroupRecord, CgroupRequest } from "./record.ts";
import { resourceWrites } from "./resources.ts";

/** The record that createCgroup gives when every hierarchy lets it. Touches nothing. @throws SpecError */
export function planCgroup(request: CgroupRequest): CgroupRecord {
  const { layout, v1, unified } = request.hierarchies;
  const record: CgroupRecord = { layout, paths: {}, made: [], planned: true };
  const path = cgroupPath(request.cgroupsPath, request.id);
  for (const hierarchy of unified ? [...v1, unified] : v1) {
    let dir = baseOf(hierarchy, path, layout);
    let isMissing = false;
    for (const name of path.names) {
      dir = `${dir}/${name}`;
      isMissing ||= !existsSync(dir);
      if (isMissing) record.made.push(dir);
    }
    if (hierarchy.controllers.length === 0) record.paths[""] = dir;
    for (const controller of hierarchy.controllers) record.paths[controller] = dir;
  }
  return record;
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
