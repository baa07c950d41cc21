import { describe, expect, test } from "vitest";
import { cpuWrites } from "../../../../src/cgroup/v1/cpu.ts";
import { cpusetWrites } from "../../../../src/cgroup/v1/cpuset.ts";

const values = (writes: { file: string; value: string }[]) => writes.map(({ file, value }) => `${file} ${value}`);

describe("cgroup/v1/cpu", () => {
  test("each field goes to its file, shares before idle and realtime before the bandwidth", () => {
    const cpu = {
      shares: 512,
      quota: 50000,
      period: 100000,
      burst: 1000,
      realtimePeriod: 9,
      realtimeRuntime: 8,
      idle: 1,
    };
    expect(values(cpuWrites(cpu))).toEqual([
      "cpu.shares 512",
      "cpu.rt_period_us 9",
      "cpu.rt_runtime_us 8",
      "cpu.cfs_period_us 100000",
      "cpu.cfs_quota_us 50000",
      "cpu.cfs_burst_us 1000",
      "cpu.idle 1",
    ]);
  });

  test("period, quota and burst that refuse one another are tried again", () => {
    expect(cpuWrites({ quota: 1, period: 1, burst: 1 }).every((write) => write.again)).toBe(true);
  });

  test("a quota of -1 lifts the limit; zeros are not set", () => {
    expect(values(cpuWrites({ quota: -1, period: 0, shares: 0 }))).toEqual(["cpu.cfs_quota_us -1"]);
  });

  test("no burst and not idle ask nothing of a kernel that has neither", () => {
    expect(cpuWrites({ burst: 0, idle: 0 })).toMatchObject([{ optional: true }, { optional: true }]);
    expect(cpuWrites({ burst: 1, idle: 1 }).some((write) => write.optional)).toBe(false);
  });

  test("cpus and mems are written as they are, empty ones not at all", () => {
    expect(cpusetWrites({ cpus: "0-3,^2", mems: "" })).toEqual([{ file: "cpuset.cpus", value: "0-3,^2" }]);
    expect(cpusetWrites({ mems: "0" })).toEqual([{ file: "cpuset.mems", value: "0" }]);
  });
});
