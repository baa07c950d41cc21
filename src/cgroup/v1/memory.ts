/**
 * `linux.resources.memory` as writes to the v1 memory controller. Touches no file.
 * Rules: OCI config-linux.md "Memory"; kernel cgroup-v1/memory.rst. As in runc, 0 is "not set".
 */
import type { LinuxMemory } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/** @returns the writes in an order that suits a new cgroup; those marked `again` settle an older one */
export function memoryWrites(memory: LinuxMemory): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const { limit = 0, reservation = 0, swappiness } = memory;
  // The kernel requires limit <= memory+swap: whichever is written first may be refused until the other is.
  // "No limit" of memory alone means both, as a limit of memory+swap would otherwise stay in its way.
  const swap = limit === -1 && !memory.swap ? -1 : (memory.swap ?? 0);
  if (limit !== 0) writes.push({ file: "memory.limit_in_bytes", value: decimal(limit), again: true });
  if (swap !== 0) {
    const write: CgroupWrite = { file: "memory.memsw.limit_in_bytes", value: decimal(swap), again: true };
    // A kernel without swap accounting has no limit to lift.
    if (swap === -1) write.optional = true;
    writes.push(write);
  }
  if (reservation !== 0) writes.push({ file: "memory.soft_limit_in_bytes", value: decimal(reservation) });
  if (swappiness !== undefined) writes.push({ file: "memory.swappiness", value: decimal(swappiness) });
  if (memory.disableOOMKiller) writes.push({ file: "memory.oom_control", value: "1" });
  // Always on, and without a choice, since Linux 5.11.
  if (memory.useHierarchy) writes.push({ file: "memory.use_hierarchy", value: "1", optional: true });
  return writes;
}
