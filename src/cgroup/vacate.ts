/**
 * A cgroup that criu makes, and nobody else: `restore --manage-cgroups-mode strict`, where criu fails for one that is there.
 * What lies above it is made as always, with its controllers; criu would make plain directories of that.
 */
import { TsrunError } from "../errors.ts";
import { existsSync } from "../sys/fs.ts";
import type { CgroupHierarchies, CgroupLine } from "./hierarchies.ts";
import { pathOf } from "./hierarchies.ts";
import type { CgroupRecord, CgroupRequest } from "./record.ts";
import { removeGroup } from "./remove.ts";

/** @throws TsrunError where it is not criu that could make it */
export function refuseAnew({ systemd, disabled }: CgroupRequest): void {
  if (systemd === undefined && !disabled) return;
  const reason = disabled
    ? "with --cgroup-manager disabled there is no cgroup to make"
    : "the cgroup of a unit is made by systemd, around criu, and there before criu can make it";
  throw new TsrunError(`--manage-cgroups-mode strict: ${reason}`, { fix: "leave the mode out, or take soft or full" });
}

/**
 * Removes the cgroup itself, of what createCgroup has made.
 *
 * @returns where it has been, for each hierarchy, as /proc/PID/cgroup would say it
 * @throws TsrunError when it was there before
 */
export function vacateCgroup(record: CgroupRecord, { v1, unified }: CgroupHierarchies): CgroupLine[] {
  const dirs = new Set(Object.values(record.paths));
  for (const dir of dirs) {
    if (record.made.includes(dir)) continue;
    throw new TsrunError(`--manage-cgroups-mode strict: cgroup ${dir} is there already`, {
      fix: "remove it, restore under another id, or leave the mode out",
    });
  }
  for (const dir of dirs) removeGroup(dir);
  return (unified ? [...v1, unified] : v1).flatMap((hierarchy) => {
    const dir = record.paths[hierarchy.controllers[0] ?? ""];
    return dir === undefined ? [] : [{ controllers: hierarchy.controllers, path: pathOf(hierarchy, dir) }];
  });
}

/** @throws TsrunError when criu has not made it: nothing of it is in the images */
export function checkMadeAnew({ paths }: CgroupRecord): void {
  const missing = Object.values(paths).find((dir) => !existsSync(dir));
  if (missing === undefined) return;
  throw new TsrunError(`--manage-cgroups-mode strict: the images have no cgroup to make ${missing} of`, {
    fix: "they are of a `checkpoint --manage-cgroups-mode ignore`: restore with soft or ignore",
  });
}
