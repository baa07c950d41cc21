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
import type { ControllerWrites } from "./write.ts";

/**
 * What to write in each controller, device rules aside. Controllers that nothing was asked of are not in the list.
 *
 * @throws SpecError for what this version of cgroups does not have
 */
export function resourceWrites(resources: LinuxResources, version: 1 | 2): ControllerWrites[] {
  const list = version === 1 ? v1Writes(resources) : v2Writes(resources);
  return list.filter(({ writes }) => writes.length > 0);
}

function v1Writes(r: LinuxResources): ControllerWrites[] {
  if (r.unified !== undefined && Object.keys(r.unified).length > 0) {
    throw new SpecError([{ path: "linux.resources.unified", message: "needs cgroup v2, and this host has v1" }]);
  }
  return [
    { controller: "cpuset", writes: r.cpu ? cpusetWrites(r.cpu) : [] },
    { controller: "memory", writes: r.memory ? memoryWritesV1(r.memory) : [] },
    { controller: "cpu", writes: r.cpu ? cpuWritesV1(r.cpu) : [] },
    { controller: "pids", writes: r.pids ? pidsWrites(r.pids) : [] },
    { controller: "blkio", writes: r.blockIO ? blkioWrites(r.blockIO) : [] },
    { controller: "hugetlb", writes: hugetlbWrites(r.hugepageLimits ?? [], "limit_in_bytes") },
    { controller: "net_cls", writes: r.network ? netClsWrites(r.network) : [] },
    { controller: "net_prio", writes: r.network ? netPrioWrites(r.network) : [] },
    { controller: "rdma", writes: r.rdma ? rdmaWrites(r.rdma) : [] },
  ];
}

function v2Writes(r: LinuxResources): ControllerWrites[] {
  if (r.network?.classID) {
    throw new SpecError([{ path: "linux.resources.network.classID", message: "cgroup v2 has no network classes" }]);
  }
  if (r.network?.priorities?.length) {
    throw new SpecError([
      { path: "linux.resources.network.priorities", message: "cgroup v2 has no network priorities" },
    ]);
  }
  return [
    { controller: "pids", writes: r.pids ? pidsWrites(r.pids) : [] },
    { controller: "memory", writes: r.memory ? memoryWritesV2(r.memory) : [] },
    { controller: "io", writes: r.blockIO ? ioWrites(r.blockIO) : [] },
    { controller: "cpu", writes: r.cpu ? cpuWritesV2(r.cpu) : [] },
    { controller: "cpuset", writes: r.cpu ? cpusetWrites(r.cpu) : [] },
    { controller: "hugetlb", writes: hugetlbWrites(r.hugepageLimits ?? [], "max") },
    { controller: "rdma", writes: r.rdma ? rdmaWrites(r.rdma) : [] },
    // Last, so that a file named outright has the last word.
    ...(r.unified ? unifiedWrites(r.unified) : []),
  ];
}

/** What was asked and cannot be had, though a container can well start without it: one sentence each. */
export function resourceWarnings(resources: LinuxResources, version: 1 | 2): string[] {
  const warnings: string[] = [];
  const { memory } = resources;
  const warn = (name: string, why: string) => warnings.push(`linux.resources.memory.${name} is ignored: ${why}`);
  if (memory?.kernel) warn("kernel", "the kernel has no limit of its own for kernel memory any more");
  if (memory?.kernelTCP) warn("kernelTCP", "the kernel has no limit of its own for TCP buffers any more");
  if (version === 2 && memory?.swappiness !== undefined) warn("swappiness", "cgroup v2 has no swappiness");
  if (version === 2 && memory?.disableOOMKiller) warn("disableOOMKiller", "cgroup v2 cannot disable the OOM killer");
  return warnings;
}
