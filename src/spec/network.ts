/**
 * A network for a container of an ordinary user: its own network namespace, and a program outside that carries what goes
 * through it. Rules: pasta(1), slirp4netns(1).
 */
import type { Problem } from "../errors.ts";
import type { Host } from "../host.ts";
import { findNamespace } from "./namespaces.ts";
import type { LinuxIDMapping, Spec } from "./types.ts";

export const NETWORKS = ["pasta", "slirp4netns"] as const;
export type NetworkProgram = (typeof NETWORKS)[number];

export function isNetwork(name: string): name is NetworkProgram {
  return (NETWORKS as readonly string[]).includes(name);
}

export function networkProblems(program: NetworkProgram, { linux = {} }: Spec, host: Host): Problem[] {
  const path = "--network";
  if (host.euid === 0) {
    return [{ path, message: `${program} is for callers who are not root: root has interfaces of his own to give` }];
  }
  const network = findNamespace(linux.namespaces, "network");
  if (network?.path)
    return [{ path, message: `the network namespace ${network.path} has a network, or none, already` }];
  const user = findNamespace(linux.namespaces, "user");
  if (user === undefined || user.path) {
    return [{ path, message: `${program} enters a user namespace of the container's own: add {"type": "user"}` }];
  }
  return [];
}

const PING = "net.ipv4.ping_group_range";

/** The config with its own network namespace, in which every group that is mapped may ping. */
export function withNetwork(spec: Spec): Spec {
  const linux = spec.linux ?? {};
  const namespaces = linux.namespaces ?? [];
  const has = findNamespace(namespaces, "network") !== undefined;
  const last = lastOf(linux.gidMappings ?? []);
  const isSet = Object.keys(linux.sysctl ?? {}).some((key) => key.replaceAll("/", ".") === PING);
  const sysctl = isSet || last === undefined ? linux.sysctl : { ...linux.sysctl, [PING]: `0 ${last}` };
  return {
    ...spec,
    linux: {
      ...linux,
      namespaces: has ? namespaces : [...namespaces, { type: "network" }],
      ...(sysctl !== undefined && { sysctl }),
    },
  };
}

/** The last of the groups that are mapped from 0 on without a gap; the kernel takes 2147483647 at most. */
function lastOf(mappings: readonly LinuxIDMapping[]): number | undefined {
  let end = 0;
  for (const { containerID, size } of [...mappings].sort((a, b) => a.containerID - b.containerID)) {
    if (containerID > end) break;
    end = Math.max(end, containerID + size);
  }
  return end === 0 ? undefined : Math.min(end - 1, 2 ** 31 - 1);
}
