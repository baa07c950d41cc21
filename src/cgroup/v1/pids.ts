/**
 * `linux.resources.pids` as writes; the same file in both versions.
 * Rules: OCI config-linux.md "PIDs"; kernel cgroup-v1/pids.rst.
 */
import type { LinuxPids } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/** A limit below zero is "no limit". Zero is a limit: none may be forked, which the kernel treats as 1. */
export function pidsWrites({ limit }: LinuxPids): CgroupWrite[] {
  if (limit === undefined || limit === null) return [];
  return [{ file: "pids.max", value: limit < 0 ? "max" : decimal(limit) }];
}
