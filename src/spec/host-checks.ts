/** What a config asks for and this host, by the facts given, cannot do. */
import type { Problem } from "../errors.ts";
import type { Host, ResolveOptions } from "./container.ts";
import { findNamespace } from "./namespaces.ts";
import type { Spec } from "./types.ts";

export function hostProblems(spec: Spec, options: ResolveOptions, host: Host): Problem[] {
  const problems: Problem[] = [];
  const linux = spec.linux ?? {};
  const unified = linux.resources?.unified;
  if (unified !== undefined && Object.keys(unified).length > 0 && host.cgroup !== "v2") {
    problems.push({
      path: "linux.resources.unified",
      message: `needs cgroup v2, and this host has ${host.cgroup === "none" ? "no cgroups" : host.cgroup}`,
    });
  }
  if (host.euid !== 0 && findNamespace(linux.namespaces, "user") === undefined) {
    problems.push({
      path: "linux.namespaces",
      message: `user ${host.euid} can make a container in a user namespace only: add {"type": "user"} and mappings (tsrun spec --rootless writes them)`,
    });
  }
  if (findNamespace(linux.namespaces, "time") !== undefined && isOlder(host, 5, 6)) {
    problems.push({
      path: "linux.namespaces",
      message: `a time namespace needs Linux 5.6, this is ${host.kernel.join(".")}`,
    });
  }
  if (options.systemdCgroup === true) {
    problems.push({ path: "--systemd-cgroup", message: "is not supported in this release" });
  }
  if (options.noPivot === true && /^r?private$/.test(linux.rootfsPropagation ?? "")) {
    problems.push({
      path: "linux.rootfsPropagation",
      message: `"${linux.rootfsPropagation}" is not safe with --no-pivot: mounts of the host would stay reachable`,
    });
  }
  return problems;
}

function isOlder(host: Host, major: number, minor: number): boolean {
  return host.kernel[0] < major || (host.kernel[0] === major && host.kernel[1] < minor);
}
