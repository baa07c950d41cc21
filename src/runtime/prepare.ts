/**
 * From a bundle to its ContainerSpec and plan parameters, touching nothing: what create, run and plan share.
 */
import {
  type CgroupHierarchies,
  type CgroupRecord,
  type CgroupRequest,
  cgroupOwner,
  detectCgroups,
  joinFds,
} from "../cgroup/manager.ts";
import { systemdRequest } from "../cgroup/systemd/request.ts";
import { cgroupViews } from "../cgroup/views.ts";
import { type Host, hostFacts } from "../host.ts";
import { isDebugging, warn } from "../log.ts";
import type { PlanParameters } from "../plan/order.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { loadSpec, specText } from "../spec/load.ts";
import { resolve } from "../spec/resolve.ts";
import { misspeltMembers } from "../spec/validate.ts";
import { farSources } from "./far-sources.ts";
import { mayUseSetgroups } from "./idmap.ts";
import { addJoinedMappings } from "./joined-userns.ts";
import { kernelMounts, mountOf } from "./mount-table.ts";
import { refuseOwnMounts } from "./namespaces.ts";
import type { PlanOptions } from "./options.ts";
import { absolutePath } from "./paths.ts";
import { compiledSeccomp } from "./seccomp.ts";
import { sourceLinks } from "./source-links.ts";

export interface Loaded {
  container: ContainerSpec;
  /** config.json as it was read; with the spec's names for its members where it has others. */
  text: string;
  hierarchies: CgroupHierarchies;
}

/**
 * @param adjust what to take the host for, in place of what it is
 * @throws SpecError with every problem of the config
 */
export function loadContainer(
  options: PlanOptions & { id: string },
  adjust: (host: Host) => Host = (host) => host,
): Loaded {
  const bundle = absolutePath(options.bundle);
  const { spec, text } = loadSpec(bundle, options.configFile);
  if (isDebugging()) warnOfMisspelt(spec);
  const hierarchies = detectCgroups();
  const listenFds = listenFdsOf(process.env, process.pid);
  const listenFdNames = listenFds > 0 ? process.env.LISTEN_FDNAMES : undefined;
  // Those of an annotation are the bundle's; these are the caller's.
  const layers = options.layers?.map((layer) => (layer.startsWith("sha256:") ? layer : absolutePath(layer)));
  const storageRoot = options.storageRoot === undefined ? undefined : absolutePath(options.storageRoot);
  const given = { ...options, bundle, layers, storageRoot, listenFds, listenFdNames };
  const container = resolve(spec, given, adjust(hostFacts(hierarchies.layout)));
  refuseOwnMounts(container);
  addJoinedMappings(container);
  return { container, text: container.renamed === undefined ? text : specText(container.renamed), hierarchies };
}

/** Of members that are nearly those of the spec; the spec wants them ignored, so that only who looks closely is told. */
export function warnOfMisspelt(spec: unknown): void {
  for (const { path, message } of misspeltMembers(spec)) warn(`${path}: ${message}`);
}

/**
 * How many descriptors from 3 on were handed to this process for its container. Without a LISTEN_PID that is ours the
 * variables are another program's, and 3 is perhaps a descriptor of the engine. Rules: sd_listen_fds(3); as runc has it.
 */
export function listenFdsOf(env: Readonly<Record<string, string | undefined>>, pid: number): number {
  if (env.LISTEN_PID !== String(pid)) return 0;
  return /^\d{1,6}$/.test(env.LISTEN_FDS ?? "") ? Number(env.LISTEN_FDS) : 0;
}

/** The cgroup that config.json asks for. */
export function cgroupRequest({ container, hierarchies }: Loaded): CgroupRequest {
  const { options, host, id, spec } = container;
  const rootless = typeof options.rootless === "boolean" ? options.rootless : host.euid !== 0 || host.userns;
  const { cgroupsPath, resources, devices } = spec.linux ?? {};
  const request = { id, cgroupsPath, resources, devices, rootless, owner: cgroupOwner(container), hierarchies };
  if (options.cgroupManager === "disabled") return { ...request, disabled: true };
  if (options.cgroupManager !== "systemd") return request;
  const home = hierarchies.unified ?? hierarchies.v1.find(({ controllers }) => controllers.includes("name=systemd"));
  const ownCgroup = home === undefined ? "" : home.own.slice(home.mount.length);
  const { annotations } = spec;
  return {
    ...request,
    systemd: systemdRequest({ id, cgroupsPath, annotations, rootless, ownCgroup, euid: host.euid }),
  };
}

/** What the plan is told about the machine and the call. */
export function planParameters(
  loaded: Loaded,
  cgroup: CgroupRecord | undefined,
  how: Pick<PlanParameters, "rootMounted" | "overlay" | "rootPlace" | "waitForStart" | "notifyDirectory" | "home">,
): PlanParameters {
  const { container } = loaded;
  const joins = cgroup ? joinFds(cgroup) : [];
  const seccomp = container.spec.linux?.seccomp;
  return {
    ...how,
    cgroupDirectory: joins.some((join) => join.kind === "directory"),
    cgroupReused: joins.some((join) => join.isReused),
    cgroupBySystemd: cgroup?.systemd !== undefined,
    cgroupTasks: joins.filter((join) => join.kind === "tasks").map((join) => join.name),
    cgroupViews: hasCgroupMount(container) && cgroup ? cgroupViews(cgroup, loaded.hierarchies) : [],
    rootParent: container.spec.linux?.rootfsPropagation?.endsWith("shared") ? mountOf(container.rootfs.path) : "/",
    hostKernelMounts: container.options.noPivot && !container.hostMounts ? kernelMounts(container) : [],
    farSources: farSources(container),
    sourceLinks: sourceLinks(container.spec),
    setgroups: mayUseSetgroups(container),
    seccomp: compiledSeccomp(seccomp),
  };
}

function hasCgroupMount(container: ContainerSpec): boolean {
  return (container.spec.mounts ?? []).some((mount) => mount.type === "cgroup" || mount.type === "cgroup2");
}
