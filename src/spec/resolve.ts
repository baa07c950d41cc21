/**
 * Spec + options + facts about the host -> ContainerSpec: defaults in, paths absolute, everything checked.
 * A function of its arguments; after it nobody asks the machine what it can do.
 */
import { type Problem, SpecError } from "../errors.ts";
import { isAbsolute, join } from "../path.ts";
import {
  ANNOTATION,
  DRIVERS,
  layerProblem,
  overlayOptionsProblem,
  readAnnotations,
  sizeOf,
  sizeProblem,
} from "./annotations.ts";
import { capabilityNumber } from "./capabilities.ts";
import type { ContainerSpec, Host, ResolvedProcess, ResolvedSpec, ResolveOptions } from "./container.ts";
import { keepsGroups } from "./crun.ts";
import { hostProblems } from "./host-checks.ts";
import { checkId, nameProblem } from "./id.ts";
import { findNamespace, NAMESPACE_FLAGS } from "./namespaces.ts";
import { isNetwork, NETWORKS, type NetworkProgram, networkProblems, withNetwork } from "./network.ts";
import { quote } from "./text.ts";
import type { Linux, LinuxCapabilities, LinuxNamespace, Mount, Process, Spec } from "./types.ts";
import { bindSysfs, unprivilegedProblems } from "./unprivileged.ts";
import { inspect } from "./validate.ts";

/**
 * @throws SpecError with every problem at once: of the config, of the options, and what this host cannot do
 */
export function resolve(spec: Spec, options: ResolveOptions, host: Host): ContainerSpec {
  checkId(options.id);
  const found = inspect(spec, { hasLayers: options.layers !== undefined });
  const { problems, warnings } = found;
  problems.push(...hostProblems(found.spec, options, host));
  const layers = resolveLayers(found.spec, options, problems);
  const hostMounts = lacksMountNamespace(found.spec, problems);
  if (hostMounts) checkHostMounts(found.spec, host, layers.layers, found);
  problems.push(...unprivilegedProblems(found.spec, host, layers));
  const network = resolveNetwork(found.spec, options, host, problems);
  if (problems.length > 0) throw new SpecError(problems);

  const config = network === undefined ? found.spec : withNetwork(found.spec);
  const namespaces = config.linux?.namespaces ?? [];
  return {
    id: options.id,
    bundle: options.bundle,
    spec: resolveSpec(config, options.bundle, host, warnings),
    rootfs: {
      path: fromBundle(options.bundle, found.spec.root?.path ?? "rootfs"),
      ...layers,
      readonly: found.spec.root?.readonly ?? false,
    },
    namespaces: resolveNamespaces(namespaces),
    userns: findNamespace(namespaces, "user") !== undefined,
    hostMounts,
    uidMappings: found.spec.linux?.uidMappings ?? [],
    gidMappings: found.spec.linux?.gidMappings ?? [],
    options,
    host,
    warnings,
    ...(found.spec !== spec && { renamed: found.spec }),
    ...(network !== undefined && { network }),
  };
}

function resolveNetwork(
  spec: Spec,
  options: ResolveOptions,
  host: Host,
  problems: Problem[],
): NetworkProgram | undefined {
  const network = options.network ?? spec.annotations?.[ANNOTATION.network];
  if (network === undefined) return undefined;
  if (!isNetwork(network)) {
    // That of an annotation is among the problems of inspect().
    if (options.network !== undefined) {
      problems.push({ path: "--network", message: `${quote(network)} is no network: ${NETWORKS.join(", ")}` });
    }
    return undefined;
  }
  problems.push(...networkProblems(network, spec, host));
  return network;
}

function lacksMountNamespace(spec: Spec, problems: readonly Problem[]): boolean {
  if (findNamespace(spec.linux?.namespaces, "mount") !== undefined) return false;
  // A list that cannot be read is reported already.
  return !problems.some(({ path }) => path === "linux" || path.startsWith("linux.namespaces"));
}

/** "If a namespace type is not specified the container inherits the runtime's": what is mounted for it lies there too. */
function checkHostMounts(
  spec: Spec,
  host: Host,
  layers: readonly string[] | undefined,
  { problems, warnings }: { problems: Problem[]; warnings: Problem[] },
): void {
  const path = "linux.namespaces";
  const add = 'add {"type": "mount"}';
  if (!host.privileged || findNamespace(spec.linux?.namespaces, "user") !== undefined) {
    problems.push({ path, message: `lack a mount namespace, and a user namespace may not mount in another's: ${add}` });
  } else if (layers !== undefined) {
    problems.push({ path, message: `lack a mount namespace for the layers to be mounted in: ${add}` });
  } else {
    warnings.push({
      path,
      message: `lack a mount namespace: mounts are made in the runtime's until \`delete\`; ${add}`,
    });
  }
}

/**
 * A process with its defaults in, and without the capabilities that this kernel does not have: "unknown capabilities
 * SHOULD be ignored with a warning" (OCI config.md).
 */
export function resolveProcess(process: Process, host: Host, warnings: Problem[]): ResolvedProcess {
  const resolved: ResolvedProcess = {
    ...process,
    user: { ...process.user, uid: process.user?.uid ?? 0, gid: process.user?.gid ?? 0 },
    args: process.args ?? [],
    env: process.env ?? [],
    cwd: process.cwd,
  };
  if (process.capabilities !== undefined) {
    resolved.capabilities = knownCapabilities(process.capabilities, host.lastCap, warnings);
  }
  return resolved;
}

function resolveSpec(spec: Spec, bundle: string, host: Host, warnings: Problem[]): ResolvedSpec {
  // inspect() has reported a missing process.
  const process = resolveProcess(spec.process as Process, host, warnings);
  if (keepsGroups(spec.annotations)) delete process.user?.additionalGids;
  const resolved: ResolvedSpec = { ...spec, process };
  if (spec.mounts !== undefined) {
    resolved.mounts = spec.mounts.map((mount) => resolveMount(bindSysfs(mount, spec.linux, host), bundle));
  }
  if (spec.linux !== undefined) resolved.linux = resolveLinux(spec.linux);
  return resolved;
}

/** Without what only says "not set": an empty seccomp object, and the swappiness of -1 that engines send as 2^64-1. */
function resolveLinux(linux: Linux): Linux {
  const resolved: Linux = { ...linux };
  if (linux.seccomp !== undefined && linux.seccomp.defaultAction === undefined) delete resolved.seccomp;
  const memory = linux.resources?.memory;
  if (memory?.swappiness !== undefined && memory.swappiness >= 2 ** 63) {
    const { swappiness: _, ...rest } = memory;
    resolved.resources = { ...linux.resources, memory: rest };
  }
  return resolved;
}

/** Destinations become absolute, and so do the sources of bind mounts: "bind", "rbind", or the type "bind" of old callers. */
export function resolveMount(mount: Mount, bundle: string): Mount {
  const options = mount.options ?? [];
  const hasWord = options.includes("bind") || options.includes("rbind");
  const resolved: Mount = { ...mount };
  if (!isAbsolute(mount.destination)) resolved.destination = `/${mount.destination}`;
  if (!hasWord && mount.type !== "bind") return resolved;
  if (mount.source !== undefined) resolved.source = fromBundle(bundle, mount.source);
  if (!hasWord) resolved.options = ["bind", ...options];
  return resolved;
}

function resolveNamespaces(namespaces: readonly LinuxNamespace[]): ContainerSpec["namespaces"] {
  const result: ContainerSpec["namespaces"] = { create: 0, join: [] };
  for (const { type, path } of namespaces) {
    const flag = NAMESPACE_FLAGS[type];
    if (path === undefined || path === "") result.create |= flag;
    else result.join.push({ type, path, flag });
  }
  return result;
}

/** Options win over annotations. Layers by directory become absolute. */
function resolveLayers(
  spec: Spec,
  options: ResolveOptions,
  problems: Problem[],
): Pick<ContainerSpec["rootfs"], "layers" | "rwLayer" | "overlayOptions" | "driver" | "sizeBytes"> {
  // Problems of the annotations themselves are among those of inspect().
  const annotated = readAnnotations(spec.annotations, () => {});
  const rwLayer = options.rwLayer ?? annotated.rwLayer;
  const overlay = options.overlay ?? annotated.overlay;
  let layers = options.layers ?? annotated.layers;
  if (options.layers !== undefined) checkLayerOptions(options.layers, problems);
  if (layers === undefined && overlay && spec.root?.path !== undefined) layers = [spec.root.path];
  const problem = options.rwLayer === undefined ? undefined : nameProblem(options.rwLayer);
  if (problem !== undefined) problems.push({ path: "--rw-layer", message: `is no name of a layer: ${problem}` });
  if (rwLayer !== undefined && layers === undefined) {
    problems.push({ path: "--rw-layer", message: "a read-write layer needs layers below it: --layer or --overlay" });
  }
  const overlayOptions = options.overlayOptions ?? annotated.overlayOptions;
  const wrong = options.overlayOptions === undefined ? undefined : overlayOptionsProblem(overlayOptions);
  if (wrong !== undefined) problems.push({ path: "--overlay-option", message: wrong });
  if (overlayOptions.length > 0 && layers === undefined) {
    problems.push({ path: "--overlay-option", message: "there is no overlay without layers: --layer or --overlay" });
  }
  if (overlayOptions.includes("volatile") && rwLayer !== undefined) {
    problems.push({
      path: "--overlay-option",
      message: "volatile: a named read-write layer is one that is to be kept",
    });
  }
  const driver = options.driver ?? annotated.driver ?? "overlay2";
  if (!DRIVERS.includes(driver)) {
    problems.push({ path: "--driver", message: `${quote(driver)} is no driver: ${DRIVERS.join(", ")}` });
  }
  if (driver !== "overlay2" && overlayOptions.length > 0) {
    problems.push({ path: "--overlay-option", message: `driver ${driver} takes none` });
  }
  const size = options.storageSize ?? annotated.storageSize;
  const sizeBytes = size === undefined ? undefined : sizeOf(size);
  if (size !== undefined) checkSize(size, { layers, driver }, problems);
  return {
    ...(driver !== "overlay2" && { driver }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    overlayOptions,
    layers: layers?.map((layer) => (layer.startsWith("sha256:") ? layer : fromBundle(options.bundle, layer))),
    rwLayer,
  };
}

function checkSize(
  size: string | number,
  { layers, driver }: { layers: readonly string[] | undefined; driver: string },
  problems: Problem[],
): void {
  const path = "--storage-size";
  if (sizeOf(size) === undefined) problems.push({ path, message: sizeProblem(size) });
  if (layers === undefined) {
    problems.push({ path, message: "what is written is a read-write layer's only with layers: --layer or --overlay" });
  }
  // fuse-overlayfs writes as root, whom ext4 lets exceed any limit, and a copy of the layers counts as written.
  if (driver !== "overlay2") problems.push({ path, message: `driver ${driver} cannot keep to one` });
}

function checkLayerOptions(layers: readonly string[], problems: Problem[]): void {
  if (layers.length === 0) problems.push({ path: "--layer", message: "the list of layers is empty" });
  for (const layer of layers) {
    const problem = layerProblem(layer);
    if (problem !== undefined) problems.push({ path: "--layer", message: problem });
  }
}

function fromBundle(bundle: string, path: string): string {
  return isAbsolute(path) ? path : join(bundle, path);
}

function knownCapabilities(sets: LinuxCapabilities, lastCap: number, warnings: Problem[]): LinuxCapabilities {
  const dropped = new Set<string>();
  const known = (names: string[]) =>
    names.filter((name) => {
      const number = capabilityNumber(name);
      if (number > lastCap) dropped.add(name);
      return number >= 0 && number <= lastCap;
    });
  const result: LinuxCapabilities = {};
  for (const key of ["bounding", "effective", "inheritable", "permitted", "ambient"] as const) {
    const names = sets[key];
    if (names !== undefined) result[key] = known(names);
  }
  for (const name of dropped) {
    warnings.push({ path: "process.capabilities", message: `this kernel has no ${name}; it is left out` });
  }
  return result;
}
