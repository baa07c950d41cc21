/**
 * What a mount of type cgroup shows in the container: its own cgroup of each hierarchy.
 * Names of the directories are those of the host, as cgroup_namespaces(7) and systemd have them.
 */
import { basename } from "../path.ts";
import type { CgroupHierarchies, Hierarchy } from "./hierarchies.ts";
import type { CgroupRecord } from "./record.ts";

export interface CgroupView {
  /** Directory below the mount's destination, such as "memory" or "cpu,cpuacct"; "" when v2 is all there is. */
  name: string;
  /** Options of mount(2) that select the hierarchy; none for v2. */
  options: string[];
  /** The container's own cgroup in the host's file system. */
  path: string;
}

export function cgroupViews(record: CgroupRecord, { layout, v1, unified }: CgroupHierarchies): CgroupView[] {
  if (layout === "v2") return unified ? [{ name: "", options: [], path: record.paths[""] ?? unified.own }] : [];
  // In a hybrid layout the v2 hierarchy has no controllers; it is left out, as runc does.
  return v1.map((hierarchy) => ({
    name: basename(hierarchy.mount),
    options: mountOptions(hierarchy),
    path: record.paths[hierarchy.controllers[0] ?? ""] ?? hierarchy.own,
  }));
}

/** A named hierarchy has no controller: "none,name=systemd". */
function mountOptions({ controllers }: Hierarchy): string[] {
  return controllers.some((name) => name.startsWith("name=")) ? ["none", ...controllers] : controllers;
}
