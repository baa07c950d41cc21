/**
 * `linux.resources.cpu` as writes to the v1 cpu controller. Touches no file.
 * Rules: OCI config-linux.md "CPU"; kernel scheduler/sched-bwc.rst, sched-rt-group.rst. As in runc, 0 is "not set".
 */
import type { LinuxCPU } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

export function cpuWrites(cpu: LinuxCPU): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const { shares = 0, quota = 0, period = 0, realtimePeriod = 0, realtimeRuntime = 0 } = cpu;
  // Shares first: an idle group takes none.
  if (shares !== 0) writes.push({ file: "cpu.shares", value: decimal(shares), again: true });
  // The realtime share must be there before a process with a realtime policy joins.
  if (realtimePeriod !== 0) writes.push({ file: "cpu.rt_period_us", value: decimal(realtimePeriod), again: true });
  if (realtimeRuntime !== 0) writes.push({ file: "cpu.rt_runtime_us", value: decimal(realtimeRuntime), again: true });
  // Period, quota and burst bound each other and the parent's ratio: a refused one waits for the others.
  if (period !== 0) writes.push({ file: "cpu.cfs_period_us", value: decimal(period), again: true });
  if (quota !== 0) writes.push({ file: "cpu.cfs_quota_us", value: decimal(quota), again: true });
  if (cpu.burst !== undefined) {
    const write: CgroupWrite = { file: "cpu.cfs_burst_us", value: decimal(cpu.burst), again: true };
    // Linux before 5.14 never lets a group burst.
    if (cpu.burst === 0) write.optional = true;
    writes.push(write);
  }
  if (cpu.idle !== undefined) writes.push(idleWrite(cpu.idle));
  return writes;
}

/** cpu.idle of both versions: 1 for SCHED_IDLE. */
export function idleWrite(idle: number): CgroupWrite {
  const write: CgroupWrite = { file: "cpu.idle", value: decimal(idle) };
  // Linux before 5.15 has no idle groups.
  if (idle === 0) write.optional = true;
  return write;
}
