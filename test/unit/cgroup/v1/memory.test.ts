import { describe, expect, test } from "vitest";
import { memoryWrites } from "../../../../src/cgroup/v1/memory.ts";

describe("cgroup/v1/memory", () => {
  test("the limit is written before memory and swap together, and each again when the other was in its way", () => {
    expect(memoryWrites({ limit: 64, swap: 96 })).toEqual([
      { file: "memory.limit_in_bytes", value: "64", again: true },
      { file: "memory.memsw.limit_in_bytes", value: "96", again: true },
    ]);
  });

  test("memory without a limit lifts that of swap too, where the kernel counts swap", () => {
    expect(memoryWrites({ limit: -1 })).toEqual([
      { file: "memory.limit_in_bytes", value: "-1", again: true },
      { file: "memory.memsw.limit_in_bytes", value: "-1", again: true, optional: true },
    ]);
  });

  test("zeros are not set, as engines send them for what was not asked", () => {
    expect(memoryWrites({ limit: 0, swap: 0, reservation: 0, kernel: 0, disableOOMKiller: false })).toEqual([]);
  });

  test("a swappiness of 0 is one", () => {
    expect(memoryWrites({ swappiness: 0 })).toEqual([{ file: "memory.swappiness", value: "0" }]);
  });

  test("reservation, OOM killer and hierarchy", () => {
    expect(memoryWrites({ reservation: 4096, disableOOMKiller: true, useHierarchy: true })).toEqual([
      { file: "memory.soft_limit_in_bytes", value: "4096" },
      { file: "memory.oom_control", value: "1" },
      { file: "memory.use_hierarchy", value: "1", optional: true },
    ]);
  });

  test("a limit that JSON could not carry exactly is written without an exponent and never wraps to zero", () => {
    expect(memoryWrites({ limit: Number(9223372036854771712n) })[0]?.value).toBe("9223372036854771712");
    expect(memoryWrites({ limit: Number(18446744073709551615n) })[0]?.value).toBe("9223372036854775807");
  });
});
