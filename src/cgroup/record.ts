/**
 * What is asked of a container's cgroup, what was made of that, and which processes and freezer are surely the
 * container's: create writes the record down, everything after it goes by the record alone.
 */
import type { LinuxDevice, LinuxResources } from "../spec/types.ts";
import { groupProcesses } from "./files.ts";
import type { Freezer } from "./freezer.ts";
import type { CgroupHierarchies, CgroupLayout } from "./hierarchies.ts";
import type { SystemdRequest } from "./systemd/request.ts";
import type { UnitRecord } from "./systemd/unit.ts";

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
  /** No cgroup is to be made: the container stays in the caller's. */
  disabled?: boolean | undefined;
  /** Systemd is to make the cgroup, as that of a unit. */
  systemd?: SystemdRequest | undefined;
  /** criu has made the cgroup: processes that are in it are the container's own. */
  isOccupied?: boolean | undefined;
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
  /** The unit whose cgroup it is: systemd has made it, and stops it. */
  systemd?: UnitRecord;
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

/** What freezes the container's processes, if its cgroups can. */
export function freezerOf(record: CgroupRecord): Freezer | undefined {
  return freezerAt(ownPaths(record));
}

/** The freezer among the cgroups of a process, by controller. */
export function freezerAt(paths: Record<string, string>): Freezer | undefined {
  if (paths.freezer !== undefined) return { dir: paths.freezer, version: 1 };
  return paths[""] === undefined ? undefined : { dir: paths[""], version: 2 };
}

/** The cgroups that are surely the container's. */
export function ownPaths({ paths, made, planned }: CgroupRecord): Record<string, string> {
  if (!planned) return paths;
  return Object.fromEntries(Object.entries(paths).filter(([, dir]) => made.includes(dir)));
}
