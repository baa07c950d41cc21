/**
 * The cgroups of a container of which no record is left: by the names that create would have given them. What is found so
 * may be somebody else's, so that no process in it is ended, and only what nobody uses is removed.
 */
import { SpecError } from "../errors.ts";
import { readdirSync } from "../sys/fs.ts";
import { readGroupFile } from "./files.ts";
import { detectCgroups, parseCgroupFile } from "./hierarchies.ts";
import { baseOf, type CgroupPath, cgroupPath } from "./path.ts";
import { removeIfUnused } from "./remove.ts";
import { unitName } from "./systemd/names.ts";
import { removeBelow } from "./tree.ts";

/** Where it would lie, by cgroupfs and as a unit of systemd's. @param cgroupsPath that of its config, if it is known */
function likelyPaths(id: string, cgroupsPath: string | undefined): CgroupPath[] {
  const ways = [
    () => cgroupPath(cgroupsPath, id),
    () => ({ names: unitName(cgroupsPath, id, "system.slice").names, isAbsolute: true }),
  ];
  return ways.flatMap((way) => {
    try {
      return [way()];
    } catch (error) {
      if (error instanceof SpecError) return [];
      throw error;
    }
  });
}

/** Pids of the processes that are in a cgroup of these names, wherever it lies. */
export function likelyProcesses(id: string, cgroupsPath: string | undefined): number[] {
  const endings = likelyPaths(id, cgroupsPath).map(({ names }) => `/${names.join("/")}/`);
  const isLikely = (pid: number) =>
    parseCgroupFile(readGroupFile(`/proc/${pid}/cgroup`) ?? "").some(({ path }) =>
      endings.some((ending) => `${path}/`.includes(ending)),
    );
  const pids = readdirSync("/proc").map(Number).filter(Number.isSafeInteger);
  return pids.filter((pid) => pid !== process.pid && isLikely(pid));
}

/** Removes the cgroups of these names in which no process is. */
export function removeLikely(id: string, cgroupsPath: string | undefined): void {
  const { layout, v1, unified } = detectCgroups();
  for (const path of likelyPaths(id, cgroupsPath)) {
    for (const hierarchy of unified ? [...v1, unified] : v1) {
      const dir = `${baseOf(hierarchy, path, layout)}/${path.names.join("/")}`;
      removeBelow(dir);
      removeIfUnused(dir);
    }
  }
}
