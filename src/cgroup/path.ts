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

/** The directory that stands above the container's cgroup and the names below it. */
export interface CgroupPlace {
  base: string;
  names: string[];
}

/**
 * @param layout of the machine, as relative paths begin elsewhere on v2
 * @throws SpecError for a path that could leave its hierarchy or that names no cgroup of its own
 */
export function cgroupPlace(
  hierarchy: Hierarchy,
  cgroupsPath: string | undefined,
  id: string,
  layout: CgroupLayout,
): CgroupPlace {
  const names = pathNames(cgroupsPath === undefined || cgroupsPath === "" ? id : cgroupsPath);
  if (names.length === 0) {
    // The top, or our own: limits, and signals to all of its processes, would not be for the container.
    const message = `${JSON.stringify(cgroupsPath)} names no cgroup for the container`;
    throw new SpecError([{ path: "linux.cgroupsPath", message }]);
  }
  const { own, mount, controllers } = hierarchy;
  if (cgroupsPath?.startsWith("/")) return { base: mount, names };
  if (controllers.length > 0) return { base: own, names };
  if (layout !== "v2" || own === mount) return { base: mount, names };
  return { base: own.slice(0, own.lastIndexOf("/")), names };
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

/** Absolute directory of a place. */
export function placeDirectory({ base, names }: CgroupPlace): string {
  return `${base}/${names.join("/")}`;
}
