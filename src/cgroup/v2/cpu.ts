/**
 * `linux.resources.cpu` as writes to cgroup v2 files. Touches no file.
 * Rules: OCI config-linux.md "CPU"; kernel cgroup-v2.rst "CPU Interface Files". As in runc, 0 is "not set".
 */
import { SpecError } from "../../errors.ts";
import type { LinuxCPU } from "../../spec/types.ts";
import { idleWrite } from "../v1/cpu.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/** @throws SpecError for realtime limits, which cgroup v2 does not have */
export function cpuWrites(cpu: LinuxCPU): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const { shares = 0, quota = 0, period = 0 } = cpu;
  for (const name of ["realtimePeriod", "realtimeRuntime"] as const) {
    if (!cpu[name]) continue;
    throw new SpecError([{ path: `linux.resources.cpu.${name}`, message: "cgroup v2 has no realtime limits" }]);
  }
  // The weight first: an idle group takes none.
  if (shares !== 0) writes.push({ file: "cpu.weight", value: String(sharesToWeight(shares)), again: true });
  if (quota !== 0 || period !== 0) {
    const value = `${quota > 0 ? decimal(quota) : "max"} ${decimal(period || DEFAULT_PERIOD_US)}`;
    writes.push({ file: "cpu.max", value, again: true });
  }
  if (cpu.burst !== undefined) {
    const write: CgroupWrite = { file: "cpu.max.burst", value: decimal(cpu.burst), again: true };
    // Linux before 5.14 never lets a group burst.
    if (cpu.burst === 0) write.optional = true;
    writes.push(write);
  }
  if (cpu.idle !== undefined) writes.push(idleWrite(cpu.idle));
  return writes;
}

/** cgroup-v2.rst, cpu.max */
const DEFAULT_PERIOD_US = 100000;

/**
 * cpu.shares (2 to 262144, default 1024) as cpu.weight (1 to 10000, default 100): the quadratic curve in logarithms
 * through the three points, as runc since 1.3.2 and crun since 1.23. The older straight line made 39 of the default.
 *
 * @see https://github.com/opencontainers/runc/pull/4785
 */
export function sharesToWeight(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}
