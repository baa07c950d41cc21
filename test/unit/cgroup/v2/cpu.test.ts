import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpuWrites, sharesToWeight } from "../../../../src/cgroup/v2/cpu.ts";

describe("cgroup/v2/cpu", () => {
  test("quota and period are one line, with the kernel's default period", () => {
    expect(cpuWrites({ quota: 50000, period: 200000 })).toMatchObject([{ file: "cpu.max", value: "50000 200000" }]);
    expect(cpuWrites({ quota: 50000 })).toMatchObject([{ file: "cpu.max", value: "50000 100000" }]);
  });

  test("a period alone, or a quota of -1, leaves the quota at max", () => {
    expect(cpuWrites({ period: 200000 })).toMatchObject([{ file: "cpu.max", value: "max 200000" }]);
    expect(cpuWrites({ quota: -1 })).toMatchObject([{ file: "cpu.max", value: "max 100000" }]);
  });

  test("zeros are not set", () => {
    expect(cpuWrites({ shares: 0, quota: 0, period: 0, realtimePeriod: 0, realtimeRuntime: 0 })).toEqual([]);
  });

  test("shares become weights so that the least, the default and the most are those of v2", () => {
    expect([2, 1024, 262144].map(sharesToWeight)).toEqual([1, 100, 10000]);
    expect([0, 1, 512, 2048, 4096, 10240, 1e9].map(sharesToWeight)).toEqual([1, 1, 59, 174, 303, 639, 10000]);
  });

  test("more shares are never a smaller weight", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 262144 }), fc.integer({ min: 2, max: 262144 }), (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(sharesToWeight(low)).toBeLessThanOrEqual(sharesToWeight(high));
        expect(sharesToWeight(low)).toBeGreaterThanOrEqual(1);
        expect(sharesToWeight(high)).toBeLessThanOrEqual(10000);
      }),
    );
  });

  test("the weight comes before idle, which takes no weight", () => {
    expect(cpuWrites({ shares: 1024, burst: 5, idle: 1 }).map((write) => write.file)).toEqual([
      "cpu.weight",
      "cpu.max.burst",
      "cpu.idle",
    ]);
  });

  test("realtime limits are refused by name", () => {
    expect(() => cpuWrites({ realtimeRuntime: 950000 })).toThrow(
      "linux.resources.cpu.realtimeRuntime: cgroup v2 has no realtime limits",
    );
  });
});
