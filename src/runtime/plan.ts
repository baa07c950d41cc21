/** `plan`: what `run` would do, without root and without touching anything. */
import { describeWrites, planCgroup } from "../cgroup/plan.ts";
import type { Host } from "../host.ts";
import { escapeControl, isDebugging } from "../log.ts";
import { describePlan } from "../plan/describe.ts";
import { planContainer as planSteps } from "../plan/order.ts";
import type { OverlayMount } from "../plan/rootfs.ts";
import type { Plan } from "../plan/step.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { newId } from "./id.ts";
import { isMountedInside } from "./inside.ts";
import type { PlanOptions } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { cgroupRequest, loadContainer, planParameters, warnOfMisspelt } from "./prepare.ts";
import { ROOT_PLACE } from "./root-place.ts";

/** A plan with what the runtime does on the host before the init starts. */
export interface ContainerPlan extends Plan {
  /** One line each: the root file system's layers, cgroups and their limits. */
  readonly host: readonly string[];
}

/**
 * What would be done to start a container: needs no rights, makes nothing.
 *
 * @throws SpecError for the config
 */
export function planContainer(options: PlanOptions): ContainerPlan {
  const loaded = loadContainer(
    { ...options, id: options.id ?? newId() },
    options.rootless === true ? undefined : asRoot,
  );
  const { container } = loaded;
  // Who asks what would be done is told what would not.
  if (!isDebugging()) warnOfMisspelt(JSON.parse(loaded.text));
  const { spec, rootfs } = container;
  const cgroup = planCgroup(cgroupRequest(loaded));
  const hasHome = spec.process.env.some((entry) => entry.startsWith("HOME=") && entry.length > 5);
  const plan = planSteps(
    container,
    planParameters(loaded, cgroup, {
      rootMounted: rootfs.layers !== undefined,
      overlay: rootfs.layers && isMountedInside(container) ? shownOverlay(rootfs) : undefined,
      rootPlace: container.hostMounts ? `${stateRoot(options.root)}/${container.id}/${ROOT_PLACE}` : undefined,
      waitForStart: false,
      // Which directory it is the container's /etc/passwd will say.
      home: hasHome ? undefined : "~",
    }),
  );
  const host = [
    ...(rootfs.layers ?? []).map((layer) => `layer ${layer}`),
    ...(rootfs.layers ? [rootfs.rwLayer ? `read-write layer ${rootfs.rwLayer}` : "read-write layer, unnamed"] : []),
    ...(rootfs.sizeBytes === undefined ? [] : [`limit of the read-write layer ${rootfs.sizeBytes} bytes`]),
    ...cgroup.made.map((dir) => `mkdir ${dir}`),
    ...describeWrites(cgroup, spec.linux?.resources),
    ...Object.entries(spec.linux?.netDevices ?? {}).map(
      ([name, device]) => `move network device ${name}${device.name ? ` as ${device.name}` : ""}`,
    ),
  ];
  return { ...plan, host };
}

/** The mount of layers by the container's process, with the layers in the place of directories that create would make. */
function shownOverlay({ layers = [], rwLayer = "unnamed" }: ContainerSpec["rootfs"]): OverlayMount {
  const lowers = ["init layer", ...[...layers].reverse()].map((path) => ({ option: "lowerdir+", path, isPlain: true }));
  const upper = { option: "upperdir", path: `read-write layer ${rwLayer}`, isPlain: true };
  return { options: ["index=off", "userxattr"], directories: [...lowers, upper], atPlace: undefined };
}

/** The plan is that of root whoever asks, unless the plan of a rootless container is asked for. */
function asRoot(host: Host): Host {
  if (host.euid === 0) return host;
  const capabilities = (1n << BigInt(host.lastCap + 1)) - 1n;
  return { ...host, privileged: true, euid: 0, egid: 0, capabilities };
}

/**
 * What `tsrun plan` prints, a line each: the host's part, then the steps of the init with their numbers.
 */
export function describeContainerPlan(plan: ContainerPlan): string[] {
  return [...plan.host.map((line) => escapeControl(`host  ${line}`)), ...describePlan(plan)];
}
