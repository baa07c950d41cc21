/**
 * Where the cgroup of a container lies: `linux.cgroupsPath` as runc's cgroupfs driver reads it.
 *
 * - absolute: below the mount point of each hierarchy;
 * - relative: below our own cgroup; on v2 below the parent of our own cgroup, because a cgroup with processes (us)
 *   cannot hand controllers to its children;
 * - absent: as a relative path that is the container's id.
 *
 * Tried beside runc 1.1.5 on a hybrid host and on v2.
 */
import { SpecError } from "../errors.ts";
import type { Hierarchy } from "./hierarchies.ts";

/** The directory that stands above the container's cgroup and the names below it. */
export interface CgroupPlace {
  base: string;
  names: string[];
}

/**
 * `aboveOwn` is for the v2 layout; the unified hierarchy of a hybrid one follows the rule of v1.
 *
 * @throws SpecError for a path that could leave its hierarchy or name a file of cgroupfs
 */
export function cgroupPlace(
  hierarchy: Hierarchy,
  cgroupsPath: string | undefined,
  id: string,
  aboveOwn: boolean,
): CgroupPlace {
  const names = pathNames(cgroupsPath === undefined || cgroupsPath === "" ? id : cgroupsPath);
  if (cgroupsPath?.startsWith("/")) return { base: hierarchy.mount, names };
  const { own, mount } = hierarchy;
  if (!aboveOwn || own === mount) return { base: own, names };
  return { base: own.slice(0, own.lastIndexOf("/")), names };
}

/** The names of a path, checked. Cgroupfs has no symbolic links, so that names without `..` stay beneath. */
export function pathNames(cgroupsPath: string, where = "linux.cgroupsPath"): string[] {
  const names = cgroupsPath.split("/").filter((name) => name !== "" && name !== ".");
  for (const name of names) {
    if (name === ".." || name.includes("\0") || name.includes("\n") || Buffer.byteLength(name) > 255) {
      throw new SpecError([
        { path: where, message: `${JSON.stringify(cgroupsPath)} has ${JSON.stringify(name)} for the name of a cgroup` },
      ]);
    }
  }
  return names;
}

/** Absolute directory of a place. */
export function placeDirectory({ base, names }: CgroupPlace): string {
  return names.length === 0 ? base : `${base}/${names.join("/")}`;
}
