/** `linux.resources` as writes by controller, in the order in which they are made. Touches no file. */
import { SpecError } from "../errors.ts";
import type { LinuxResources } from "../spec/types.ts";
import { blkioWrites } from "./v1/blkio.ts";
import { cpuWrites as cpuWritesV1 } from "./v1/cpu.ts";
import { cpusetWrites } from "./v1/cpuset.ts";
import { hugetlbWrites } from "./v1/hugetlb.ts";
import { memoryWrites as memoryWritesV1 } from "./v1/memory.ts";
import { netClsWrites, netPrioWrites } from "./v1/network.ts";
import { pidsWrites } from "./v1/pids.ts";
import { rdmaWrites } from "./v1/rdma.ts";
import { cpuWrites as cpuWritesV2 } from "./v2/cpu.ts";
import { ioWrites } from "./v2/io.ts";
import { memoryWrites as memoryWritesV2 } from "./v2/memory.ts";
import { unifiedWrites } from "./v2/unified.ts";
import type { CgroupWrite, ControllerWrites } from "./write.ts";

/**
 * What to write in each controller, device rules aside. Controllers that nothing was asked of are not in the list.
 *
 * @throws SpecError for what this version of cgroups does not have
 */
export function resourceWrites(resources: LinuxResources, version: 1 | 2): ControllerWrites[] {
  const list: ControllerWrites[] = [];
  if (version === 1) v1Writes(resources, list);
  else v2Writes(resources, list);
  return list;
}

function v1Writes(r: LinuxResources, list: ControllerWrites[]): void {
  if (r.unified !== undefined && Object.keys(r.unified).length > 0) {
    throw new SpecError([{ path: "linux.resources.unified", message: "needs cgroup v2, and this host has v1" }]);
  }
  if (r.cpu) add(list, "cpuset", cpusetWrites(r.cpu));
  if (r.memory) add(list, "memory", memoryWritesV1(r.memory));
  if (r.cpu) add(list, "cpu", cpuWritesV1(r.cpu));
  if (r.pids) add(list, "pids", pidsWrites(r.pids));
  if (r.blockIO) add(list, "blkio", blkioWrites(r.blockIO));
  if (r.hugepageLimits) add(list, "hugetlb", hugetlbWrites(r.hugepageLimits, "limit_in_bytes"));
  if (r.network) add(list, "net_cls", netClsWrites(r.network));
  if (r.network) add(list, "net_prio", netPrioWrites(r.network));
  if (r.rdma) add(list, "rdma", rdmaWrites(r.rdma));
}

function v2Writes(r: LinuxResources, list: ControllerWrites[]): void {
  if (r.network?.classID) {
    throw new SpecError([{ path: "linux.resources.network.classID", message: "cgroup v2 has no network classes" }]);
  }
  if (r.network?.priorities?.length) {
    throw new SpecError([
      { path: "linux.resources.network.priorities", message: "cgroup v2 has no network priorities" },
    ]);
  }
  if (r.pids) add(list, "pids", pidsWrites(r.pids));
  if (r.memory) add(list, "memory", memoryWritesV2(r.memory));
  if (r.blockIO) add(list, "io", ioWrites(r.blockIO));
  if (r.cpu) add(list, "cpu", cpuWritesV2(r.cpu));
  if (r.cpu) add(list, "cpuset", cpusetWrites(r.cpu));
  if (r.hugepageLimits) add(list, "hugetlb", hugetlbWrites(r.hugepageLimits, "max"));
  if (r.rdma) add(list, "rdma", rdmaWrites(r.rdma));
  // Last, so that a file named outright has the last word.
  if (r.unified) list.push(...unifiedWrites(r.unified));
}

function add(list: ControllerWrites[], controller: string, writes: CgroupWrite[]): void {
  if (writes.length > 0) list.push({ controller, writes });
}

/** What was asked and cannot be had, though a container can well start without it: one sentence each. */
export function resourceWarnings(resources: LinuxResources, version: 1 | 2): string[] {
  const { memory } = resources;
  if (memory === undefined) return [];
  const warnings: string[] = [];
  const warn = (name: string, why: string) => warnings.push(`linux.resources.memory.${name} is ignored: ${why}`);
  if (memory.kernel) warn("kernel", "the kernel has no limit of its own for kernel memory any more");
  if (memory.kernelTCP) warn("kernelTCP", "the kernel has no limit of its own for TCP buffers any more");
  if (version === 2 && memory.swappiness !== undefined) warn("swappiness", "cgroup v2 has no swappiness");
  if (version === 2 && memory.disableOOMKiller) warn("disableOOMKiller", "cgroup v2 cannot disable the OOM killer");
  return warnings;
}
