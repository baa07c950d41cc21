/** What systemd is asked for on behalf of a container. Touches no file. */
import { readAnnotated } from "./annotations.ts";
import type { BusKind } from "./bus.ts";
import { type UnitName, unitName } from "./names.ts";
import type { UnitProperty } from "./properties.ts";

export interface SystemdRequest extends UnitName {
  bus: BusKind;
  /** What the bundle's annotations ask for beside the limits. */
  properties: readonly UnitProperty[];
}

export interface SystemdFacts {
  id: string;
  cgroupsPath: string | undefined;
  annotations: Readonly<Record<string, string>> | undefined;
  /** Without root's rights the user's own manager is asked. */
  rootless: boolean;
  /** The cgroup that we are in ourselves, below the mount point of its hierarchy. */
  ownCgroup: string;
  euid: number;
}

/** @throws SpecError for a cgroupsPath or an annotation that systemd could not follow */
export function systemdRequest(facts: SystemdFacts): SystemdRequest {
  const { unit, slice, names } = unitName(facts.cgroupsPath, facts.id, facts.rootless ? "user.slice" : "system.slice");
  const above = facts.rootless ? userManager(facts.ownCgroup, facts.euid) : [];
  return {
    unit,
    slice,
    names: [...above, ...names],
    bus: facts.rootless ? "user" : "system",
    properties: readAnnotated(facts.annotations),
  };
}

/** The cgroup of the user's manager: the one we are below or, in a login session beside it, where logind puts it. */
function userManager(ownCgroup: string, uid: number): string[] {
  const names = ownCgroup.split("/").filter((name) => name !== "");
  const at = names.findIndex((name) => /^user@\d+\.service$/.test(name));
  if (at >= 0) return names.slice(0, at + 1);
  const slice = names.find((name) => /^user-\d+\.slice$/.test(name)) ?? `user-${uid}.slice`;
  return ["user.slice", slice, `user@${slice.slice("user-".length, -".slice".length)}.service`];
}
