/**
 * Who owns the cgroup of a container: on v2, with a cgroup namespace of its own and a writable cgroup mount, its
 * process may make cgroups below. Rules: OCI config-linux.md "Cgroup ownership"; kernel cgroup-v2.rst "Delegation".
 */
import { isErrno, SyscallError } from "../errors.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { LinuxIDMapping } from "../spec/types.ts";
import { chownSync } from "../sys/fs.ts";
import { readGroupFile } from "./files.ts";
import { codeOf } from "./write.ts";

const CLONE_NEWCGROUP = 0x2000000;

/** The uid on the host that the container's v2 cgroup is given to; undefined: it stays ours. */
export function cgroupOwner(
  container: Pick<ContainerSpec, "spec" | "namespaces" | "userns" | "uidMappings">,
): number | undefined {
  if ((container.namespaces.create & CLONE_NEWCGROUP) === 0) return undefined;
  const mount = container.spec.mounts?.find((m) => m.destination.replace(/\/+$/, "") === "/sys/fs/cgroup");
  if (mount === undefined || (mount.type !== "cgroup" && mount.type !== "cgroup2")) return undefined;
  if (mount.options?.includes("ro")) return undefined;
  const uid = container.spec.process.user?.uid ?? 0;
  const owner = container.userns ? hostId(uid, container.uidMappings) : uid;
  // It is root's already.
  return owner === 0 ? undefined : owner;
}

function hostId(id: number, mappings: readonly LinuxIDMapping[]): number | undefined {
  for (const { containerID, hostID, size } of mappings) {
    if (id >= containerID && id < containerID + size) return hostID + id - containerID;
  }
  return undefined;
}

/** Gives away a cgroup with the files that the kernel names for it, and no others: limits stay ours. */
export function chownGroup(dir: string, uid: number): void {
  // Linux before 4.15 does not say which; these were all.
  const files = readGroupFile("/sys/kernel/cgroup/delegate") ?? "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";
  for (const file of ["", ...files.split("\n")]) {
    const path = file === "" ? dir : `${dir}/${file}`;
    try {
      chownSync(path, uid, -1);
    } catch (error) {
      // The list has files of controllers that this cgroup does not have.
      if (!isErrno(error, "ENOENT")) throw new SyscallError("chown", codeOf(error), { path });
    }
  }
}
