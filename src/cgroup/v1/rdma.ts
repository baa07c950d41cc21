/**
 * `linux.resources.rdma` as writes; the same file in both versions. Touches no file.
 * Rules: OCI config-linux.md "RDMA"; kernel cgroup-v1/rdma.rst.
 */
import type { LinuxRdma } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

export function rdmaWrites(rdma: Record<string, LinuxRdma>): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(rdma)) {
    const handles = hcaHandles === undefined ? "" : ` hca_handle=${decimal(hcaHandles)}`;
    const objects = hcaObjects === undefined ? "" : ` hca_object=${decimal(hcaObjects)}`;
    if (handles + objects !== "") writes.push({ file: "rdma.max", value: `${device}${handles}${objects}` });
  }
  return writes;
}
