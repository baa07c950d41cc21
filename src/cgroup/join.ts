/** How a process gets into the cgroup of a container, and in which one it is. Rules: cgroups(7). */
import { isWritable } from "../sys/fs.ts";
import { readGroupFile } from "./files.ts";
import { type CgroupHierarchies, directoryOf, parseCgroupFile } from "./hierarchies.ts";
import type { CgroupRecord } from "./record.ts";

/** How the init joins: on v1 it writes "0" to each tasks file; the directory is for CLONE_INTO_CGROUP. */
export interface CgroupJoin {
  /** The first controller; "unified" for v2. */
  name: string;
  path: string;
  kind: "tasks" | "directory";
  /**
   * A directory that was there before: nobody may be cloned into it, as what was in it before may have been killed by
   * its cgroup.kill. The kernel counts those kills and ends a clone at birth when the count of its cgroup is another
   * one than that of the caller's (seen up to Linux 6.18).
   */
  isReused?: true;
}

/**
 * None for a cgroup of systemd's, which has put the process there.
 *
 * @param record `made` as in it; left out, no directory counts as one that was there before
 */
export function joinFds({
  paths,
  systemd,
  made,
}: Pick<CgroupRecord, "paths" | "systemd"> & { made?: readonly string[] | undefined }): CgroupJoin[] {
  if (systemd !== undefined) return [];
  const joins: CgroupJoin[] = [];
  const seen = new Set<string>();
  for (const [controller, dir] of Object.entries(paths)) {
    if (seen.has(dir)) continue;
    seen.add(dir);
    const isMade = made === undefined || made.some((own) => dir === own || dir.startsWith(`${own}/`));
    if (controller === "") {
      joins.push({ name: "unified", path: dir, kind: "directory", ...(isMade ? {} : { isReused: true }) });
    } else {
      joins.push({ name: controller, path: `${dir}/tasks`, kind: "tasks" });
    }
  }
  return joins;
}

/**
 * May the caller, who is not root, move a process from one v2 cgroup to another? Both directories are below one mount.
 *
 * @see cgroup-v2.rst "Delegation Containment": the nearest cgroup above both must be the caller's to write, too
 */
export function mayMove(from: string, to: string): boolean {
  const names = to.split("/");
  const other = from.split("/");
  let shared = 0;
  while (shared < names.length && names[shared] === other[shared]) shared++;
  return isWritable(`${to}/cgroup.procs`) && isWritable(`${names.slice(0, shared).join("/")}/cgroup.procs`);
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
