/** The config that `tsrun spec` writes on this machine. */
import { detectCgroups } from "../cgroup/manager.ts";
import { type DefaultSpecOptions, defaultSpec } from "../spec/defaults.ts";
import type { Spec } from "../spec/types.ts";

/**
 * The config.json of `tsrun spec`, to be changed and written: a fresh object every time. On cgroup v2 with a cgroup
 * namespace, as runc has it: what the container sees of cgroups is then its own.
 */
export function newSpec(options: Omit<DefaultSpecOptions, "cgroupNamespace"> = {}): Spec {
  return defaultSpec({ ...options, cgroupNamespace: detectCgroups().layout === "v2" });
}
