/** The namespaces of the runtime-spec and the kernel's flags for them. Source: linux/sched.h, namespaces(7). */
import type { LinuxNamespace, LinuxNamespaceType } from "./types.ts";

export const NAMESPACE_FLAGS: Readonly<Record<LinuxNamespaceType, number>> = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
  time: 0x00000080,
};

/** The namespace of this type that the config makes or joins; undefined when the container stays in ours. */
export function findNamespace(
  namespaces: readonly LinuxNamespace[] | undefined,
  type: LinuxNamespaceType,
): LinuxNamespace | undefined {
  if (namespaces === undefined) return undefined;
  for (let i = 0; i < namespaces.length; i++) if (namespaces[i]?.type === type) return namespaces[i];
  return undefined;
}
