/**
 * `linux.resources.pids` as writes; the same file in both versions.
 * Rules: OCI config-linux.md "PIDs"; kernel cgroup-v1/pids.rst.
 */
import type { LinuxPids } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/**
 * A limit below zero is "no limit". Zero allows no process but the first, as one does: on v2 the kernel counts at
 * clone3(2), and would not even let that one in.
 */
export function pidsWrites({ limit }: LinuxPids): CgroupWrite[] {
  if (limit === undefined || limit === null) return [];
  return [{ file: "pids.max", value: limit < 0 ? "max" : decimal(Math.max(limit, 1)) }];
}
