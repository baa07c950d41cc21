import { describe, expect, test } from "vitest";
import { memoryWrites } from "../../../../src/cgroup/v2/memory.ts";

describe("cgroup/v2/memory", () => {
  test("swap is written without the memory share that the spec includes", () => {
    expect(memoryWrites({ limit: 64, swap: 96 })).toEqual([
      { file: "memory.swap.max", value: "32" },
      { file: "memory.max", value: "64" },
    ]);
  });

  test("swap equal to memory means no swap, which a kernel without swap does anyway", () => {
    expect(memoryWrites({ limit: 64, swap: 64 })[0]).toEqual({ file: "memory.swap.max", value: "0", optional: true });
  });

  test("no limit is spelled max", () => {
    expect(memoryWrites({ limit: -1 })).toEqual([
      { file: "memory.swap.max", value: "max", optional: true },
      { file: "memory.max", value: "max" },
    ]);
    expect(memoryWrites({ limit: 64, swap: -1 })[0]).toEqual({ file: "memory.swap.max", value: "max", optional: true });
  });

  test("a limit alone leaves swap as it is", () => {
    expect(memoryWrites({ limit: 64 })).toEqual([{ file: "memory.max", value: "64" }]);
  });

  test("the reservation is memory.low", () => {
    expect(memoryWrites({ reservation: 4096 })).toEqual([{ file: "memory.low", value: "4096" }]);
  });

  test("zeros are not set", () => {
    expect(memoryWrites({ limit: 0, swap: 0, reservation: 0 })).toEqual([]);
  });

  test("swap needs a limit and cannot be smaller, and the message has the field", () => {
    expect(() => memoryWrites({ swap: 96 })).toThrow("linux.resources.memory.swap: needs linux.resources.memory.limit");
    expect(() => memoryWrites({ limit: -1, swap: 96 })).toThrow("linux.resources.memory.swap: needs");
    expect(() => memoryWrites({ limit: 96, swap: 64 })).toThrow("cannot be smaller than the memory limit");
  });
});
