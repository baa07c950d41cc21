/**
 * Where the cgroup of a container lies: `linux.cgroupsPath` as runc's cgroupfs driver reads it.
 *
 * - absolute: below the mount point of each hierarchy;
 * - relative: below our own cgroup; on v2 below the parent of our own cgroup, because a cgroup with processes (us)
 *   cannot hand controllers to its children;
 * - absent: as a relative path that is the container's id.
 *
 * Beside v1 hierarchies the unified one has the relative ones below its mount point.
 *
 * Tried beside runc 1.1.5 on a hybrid host and on v2.
 */
import { SpecError } from "../errors.ts";
import { byteLength } from "../spec/text.ts";
import type { CgroupLayout, Hierarchy } from "./hierarchies.ts";
import type { CgroupRequest } from "./record.ts";

/** A checked path: where it begins in a hierarchy is for baseOf to say. */
export interface CgroupPath {
  names: string[];
  isAbsolute: boolean;
}

/** Where the cgroup of a request lies, by cgroupfs or as a unit of systemd's. @throws SpecError */
export function requestedPath({ systemd, cgroupsPath, id }: CgroupRequest): CgroupPath {
  return systemd === undefined ? cgroupPath(cgroupsPath, id) : { names: systemd.names, isAbsolute: true };
}

/** @throws SpecError for a path that could leave its hierarchy or that names no cgroup of its own */
export function cgroupPath(cgroupsPath: string | undefined, id: string): CgroupPath {
  const text = cgroupsPath === undefined || cgroupsPath === "" ? id : cgroupsPath;
  const names = pathNames(text);
  if (names.length === 0) {
    // The top, or our own: limits, and signals to all of its processes, would not be for the container.
    const message = `${JSON.stringify(text)} names no cgroup for the container`;
    throw new SpecError([{ path: "linux.cgroupsPath", message }]);
  }
  return { names, isAbsolute: text.startsWith("/") };
}

/** The directory of a hierarchy that a path begins at. `layout` is the machine's. */
export function baseOf(hierarchy: Hierarchy, { isAbsolute }: CgroupPath, layout: CgroupLayout): string {
  const { own, mount, controllers } = hierarchy;
  if (isAbsolute) return mount;
  if (controllers.length > 0) return own;
  return layout !== "v2" || own === mount ? mount : own.slice(0, own.lastIndexOf("/"));
}

/** The names of a path, checked. Cgroupfs has no symbolic links, so that names without `..` stay beneath. */
export function pathNames(cgroupsPath: string, where = "linux.cgroupsPath"): string[] {
  const names = cgroupsPath.split("/").filter((name) => name !== "" && name !== ".");
  for (const name of names) {
    if (name === ".." || name.includes("\0") || name.includes("\n") || byteLength(name) > 255) {
      throw new SpecError([
        { path: where, message: `${JSON.stringify(cgroupsPath)} has ${JSON.stringify(name)} for the name of a cgroup` },
      ]);
    }
  }
  return names;
}
