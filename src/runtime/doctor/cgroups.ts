/** Can the caller make cgroups, and which limits has he there? Rules: cgroups(7); kernel cgroup-v2.rst "Delegation". */
import { attachDeviceFilter } from "../../cgroup/device-attach.ts";
import { defaultDeviceFilter } from "../../cgroup/device-filter.ts";
import { groupProcesses, readGroupFile } from "../../cgroup/files.ts";
import type { CgroupHierarchies, Hierarchy } from "../../cgroup/hierarchies.ts";
import { directories } from "../../cgroup/make.ts";
import { baseOf, cgroupPath } from "../../cgroup/path.ts";
import { isWritable, mkdirSync, rmdirSync } from "../../sys/fs.ts";
import { type CgroupProbes, type Outcome, outcomeOf } from "./probes.ts";

/** @param name of the cgroups that are made, and removed again */
export function probeCgroups({ layout, v1, unified }: CgroupHierarchies, name: string): CgroupProbes {
  const probes: CgroupProbes = { layout, made: undefined, usable: [], known: [], devices: undefined };
  if (layout === "v2" && unified !== undefined) {
    const base = baseOf(unified, cgroupPath(undefined, name), layout);
    probes.known = words(`${unified.mount}/cgroup.controllers`);
    probes.made = inGroup(`${base}/${name}`, (dir) => {
      probes.devices = outcomeOf(() => attachDeviceFilter(dir, defaultDeviceFilter()));
    });
    if (probes.made === undefined) probes.usable = usableBelow(directories(unified.mount, base));
    return probes;
  }
  for (const hierarchy of v1) {
    const controllers = hierarchy.controllers.filter((controller) => !controller.startsWith("name="));
    if (controllers.length === 0) continue;
    probes.known.push(...controllers);
    const made = madeIn(hierarchy, name);
    if (made === undefined) probes.usable.push(...controllers);
    else probes.made ??= made;
    if (controllers.includes("devices")) probes.devices = made;
  }
  // One hierarchy that is open to the caller does for a cgroup.
  if (probes.usable.length > 0) probes.made = undefined;
  return probes;
}

function madeIn(hierarchy: Hierarchy, name: string): Outcome {
  return inGroup(`${baseOf(hierarchy, cgroupPath(undefined, name), "v1")}/${name}`, () => {});
}

/** Makes a cgroup for as long as `use` takes. */
function inGroup(dir: string, use: (dir: string) => void): Outcome {
  return outcomeOf(() => {
    mkdirSync(dir);
    try {
      use(dir);
    } finally {
      rmdirSync(dir);
    }
  });
}

/**
 * Controllers that a new cgroup in the last of these directories would have: each must be handed down by all of them, and
 * one that is not yet is so only by who may write there, where no processes are in the way.
 */
function usableBelow(dirs: readonly string[]): string[] {
  let left: string[] | undefined;
  for (const [depth, dir] of dirs.entries()) {
    const enabled = words(`${dir}/cgroup.subtree_control`);
    const available = words(`${dir}/cgroup.controllers`);
    const mayEnable = isWritable(`${dir}/cgroup.subtree_control`) && (depth === 0 || groupProcesses(dir).length === 0);
    const passed = mayEnable ? (left ?? available) : enabled;
    left = left === undefined ? passed : passed.filter((name) => left?.includes(name));
  }
  return left ?? [];
}

function words(file: string): string[] {
  return (readGroupFile(file) ?? "").trim().split(/\s+/).filter(Boolean);
}
