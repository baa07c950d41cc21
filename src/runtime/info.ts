/** `info`: what this program and this machine are, for people and for bug reports. Nothing is tried; that is for `doctor`. */

import { readGroupFile } from "../cgroup/files.ts";
import { detectCgroups, type Hierarchy } from "../cgroup/hierarchies.ts";
import { hostFacts } from "../host.ts";
import { NAMESPACE_FLAGS } from "../spec/namespaces.ts";
import { DRIVERS } from "../storage/drivers.ts";
import { readFileSync, statSync } from "../sys/fs.ts";
import { listContainers } from "./list.ts";
import type { ContainerStatus } from "./options.ts";
import { stateRoot, storageRoot } from "./paths.ts";
import { COMMIT, SPEC_VERSION, VERSION } from "./version.ts";

/** What `tsrun info --json` prints. */
export interface RuntimeInfo {
  version: { tsrun: string; commit: string; runtimeSpec: string };
  host: {
    kernel: string;
    architecture: string;
    distribution: string;
    cpus: number;
    /** In bytes. */
    memory: number;
    swap: number;
  };
  cgroups: {
    layout: "v1" | "hybrid" | "v2" | "none";
    /** Of v2 those that the root has, of v1 those of all hierarchies; sorted. */
    controllers: string[];
    mounts: string[];
  };
  security: {
    rootless: boolean;
    userNamespace: boolean;
    apparmor: boolean;
    selinux: boolean;
    seccomp: boolean;
  };
  namespaces: string[];
  storage: { driver: string; drivers: string[]; root: string };
  state: { root: string; containers: Record<ContainerStatus, number> };
}

/** @param root where states are; undefined: as for containers @throws StateError when there is no place for states */
export function runtimeInfo(root?: string | undefined): RuntimeInfo {
  const hierarchies = detectCgroups();
  const host = hostFacts(hierarchies.layout);
  const mounted = [...hierarchies.v1, ...(hierarchies.unified ? [hierarchies.unified] : [])];
  const memory = keyed(read("/proc/meminfo"), ":");
  return {
    version: { tsrun: VERSION, commit: COMMIT, runtimeSpec: SPEC_VERSION },
    host: {
      kernel: read("/proc/sys/kernel/osrelease").trim(),
      architecture: process.arch === "arm64" ? "aarch64" : "x86_64",
      distribution: distributionOf(read("/etc/os-release")),
      cpus: read("/proc/cpuinfo").match(/^processor\s*:/gm)?.length ?? 1,
      memory: kibibytes(memory.get("MemTotal")),
      swap: kibibytes(memory.get("SwapTotal")),
    },
    cgroups: {
      layout: hierarchies.layout,
      controllers: mounted.flatMap(controllersOf).sort(),
      mounts: mounted.map(({ mount }) => mount),
    },
    security: {
      rootless: host.euid !== 0,
      userNamespace: host.userns,
      apparmor: host.apparmor,
      selinux: host.selinux,
      seccomp: /^Seccomp_filters:/m.test(read("/proc/self/status")),
    },
    namespaces: Object.keys(NAMESPACE_FLAGS)
      .filter((type) => statSync(`/proc/self/ns/${FILES[type] ?? type}`) !== undefined)
      .sort(),
    storage: { driver: "overlay2", drivers: [...DRIVERS], root: storageRoot() },
    state: { root: stateRoot(root), containers: countContainers(root) },
  };
}

/** Names of namespaces where the kernel's files have others than the spec. */
const FILES: Readonly<Record<string, string>> = { mount: "mnt", network: "net" };

/** Named hierarchies have none. */
function controllersOf({ controllers, mount }: Hierarchy): string[] {
  if (controllers.length > 0) return controllers.filter((name) => !name.startsWith("name="));
  return (readGroupFile(`${mount}/cgroup.controllers`) ?? "").trim().split(" ").filter(Boolean);
}

/** Rules: os-release(5). */
export function distributionOf(text: string): string {
  const name = keyed(text, "=").get("PRETTY_NAME") ?? "unknown";
  return /^(["']).*\1$/.test(name) ? name.slice(1, -1) : name;
}

function keyed(text: string, separator: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const at = line.indexOf(separator);
    if (at !== -1) values.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  return values;
}

function kibibytes(text = "0"): number {
  return (Number.parseInt(text, 10) || 0) * 1024;
}

function countContainers(root: string | undefined): Record<ContainerStatus, number> {
  const counts: Record<ContainerStatus, number> = { creating: 0, created: 0, running: 0, paused: 0, stopped: 0 };
  for (const { status } of listContainers(root)) counts[status]++;
  return counts;
}

function read(path: string): string {
  try {
    return readFileSync(path);
  } catch {
    return "";
  }
}
