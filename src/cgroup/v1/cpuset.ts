/**
 * `linux.resources.cpu.cpus` and `.mems` as writes; the files have the same names in both versions.
 * Rules: OCI config-linux.md "CPU"; kernel cgroup-v2.rst "Cpuset", cgroup-v1/cpusets.rst.
 */
import type { LinuxCPU } from "../../spec/types.ts";
import type { CgroupWrite } from "../write.ts";

export function cpusetWrites({ cpus, mems }: LinuxCPU): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (cpus) writes.push({ file: "cpuset.cpus", value: cpus });
  if (mems) writes.push({ file: "cpuset.mems", value: mems });
  return writes;
}
