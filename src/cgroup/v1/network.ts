/**
 * `linux.resources.network` as writes to the v1 net_cls and net_prio controllers. Touches no file.
 * Rules: OCI config-linux.md "Network"; kernel cgroup-v1/net_cls.rst, net_prio.rst.
 */
import type { LinuxNetwork } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

export function netClsWrites({ classID }: LinuxNetwork): CgroupWrite[] {
  return classID ? [{ file: "net_cls.classid", value: decimal(classID) }] : [];
}

export function netPrioWrites({ priorities = [] }: LinuxNetwork): CgroupWrite[] {
  return priorities.map(({ name, priority }) => ({ file: "net_prio.ifpriomap", value: `${name} ${priority}` }));
}
