/** What a config asks for and this host, by the facts given, cannot do. */
import type { Problem } from "../errors.ts";
import type { Host, ResolveOptions } from "./container.ts";
import { mountMappings } from "./idmap.ts";
import { findNamespace } from "./namespaces.ts";
import { uint64 } from "./numbers.ts";
import { priorityProblems } from "./priorities.ts";
import { quote } from "./text.ts";
import type { Process, Spec } from "./types.ts";

export function hostProblems(spec: Spec, options: ResolveOptions, host: Host): Problem[] {
  const problems: Problem[] = [];
  const linux = spec.linux ?? {};
  const unified = linux.resources?.unified;
  if (unified !== undefined && Object.keys(unified).length > 0 && host.cgroup !== "v2") {
    problems.push({
      path: "linux.resources.unified",
      message: `invalid configuration: needs cgroup v2, and this host has ${host.cgroup === "none" ? "no cgroups" : host.cgroup}`,
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
  problems.push(...processProblems(spec.process, findNamespace(linux.namespaces, "user") !== undefined, host));
  if (!host.privileged && spec.mounts?.some((mount) => mountMappings(mount, linux) !== undefined)) {
    problems.push({
      path: "mounts",
      message: "idmapped mounts need CAP_SYS_ADMIN over the machine, which this process does not have",
    });
  }
  if (linux.mountLabel && !host.selinux) problems.push({ path: "linux.mountLabel", message: NO_SELINUX });
  if (Object.keys(linux.timeOffsets ?? {}).length > 0 && !host.privileged) {
    problems.push({
      path: "linux.timeOffsets",
      message: "need CAP_SYS_TIME and CAP_SYS_ADMIN over the machine, or the clocks of a time namespace cannot be set",
    });
  }
  if (Object.keys(linux.netDevices ?? {}).length > 0 && !host.privileged) {
    problems.push({
      path: "linux.netDevices",
      message: "need CAP_NET_ADMIN over the machine, or its network devices cannot be moved",
    });
  }
  if (options.noPivot === true && /^r?private$/.test(linux.rootfsPropagation ?? "")) {
    problems.push({
      path: "linux.rootfsPropagation",
      message: `"${linux.rootfsPropagation}" is not safe with --no-pivot: mounts of the host would stay reachable`,
    });
  }
  return problems;
}

/** @param userns is the process in a user namespace of the container? */
export function processProblems(process: Process | undefined, userns: boolean, host: Host): Problem[] {
  return [
    ...rlimitProblems(process, host),
    ...priorityProblems(process, userns, host),
    ...labelProblems(process, host),
  ];
}

/** Raising a hard limit needs CAP_SYS_RESOURCE over the machine; that of a user namespace does not count. Rules: setrlimit(2). */
function rlimitProblems(process: Process | undefined, host: Host): Problem[] {
  const limits = process?.rlimits;
  if (limits === undefined || limits.length === 0) return [];
  if (!host.userns && (host.capabilities & CAP_SYS_RESOURCE) !== 0n) return [];
  const problems: Problem[] = [];
  limits.forEach(({ type, hard }, i) => {
    const most = host.hardLimits[type];
    if (most === undefined || hard === undefined || uint64(hard) <= most) return;
    problems.push({
      path: `process.rlimits[${i}].hard`,
      message: `${uint64(hard)} is more than this process has (${most}) and may give without CAP_SYS_RESOURCE`,
    });
  });
  return problems;
}

/** A label for a security module that is not there would be no protection at all. */
export function labelProblems(
  process: Pick<Process, "apparmorProfile" | "selinuxLabel"> | undefined,
  host: Host,
  path = "process",
): Problem[] {
  const problems: Problem[] = [];
  if (process?.apparmorProfile && !host.apparmor) {
    problems.push({ path: `${path}.apparmorProfile`, message: "AppArmor is not enabled on this host" });
  }
  if (process?.selinuxLabel && !host.selinux) problems.push({ path: `${path}.selinuxLabel`, message: NO_SELINUX });
  return problems;
}

/** The same of what `restore` puts in the place of the labels that the processes had. */
export function restoredLabelProblems(
  { lsmProfile, lsmMountContext }: { lsmProfile?: string | undefined; lsmMountContext?: string | undefined },
  host: Host,
): Problem[] {
  const problems: Problem[] = [];
  if (lsmProfile !== undefined) {
    const [, type, name = ""] = /^(apparmor|selinux):(.*)$/s.exec(lsmProfile) ?? [];
    if (name === "") {
      problems.push({
        path: "--lsm-profile",
        message: `must be apparmor:PROFILE or selinux:LABEL, not ${quote(lsmProfile)}`,
      });
    }
    const process = type === "apparmor" ? { apparmorProfile: name } : { selinuxLabel: name };
    problems.push(...labelProblems(process, host).map(({ message }) => ({ path: "--lsm-profile", message })));
  }
  if (lsmMountContext && !host.selinux) problems.push({ path: "--lsm-mount-context", message: NO_SELINUX });
  return problems;
}

const NO_SELINUX = "SELinux is disabled or not supported on this host";
const CAP_SYS_RESOURCE = 1n << 24n;

function isOlder(host: Host, major: number, minor: number): boolean {
  return host.kernel[0] < major || (host.kernel[0] === major && host.kernel[1] < minor);
}
