import { describe, expect, test } from "vitest";
import { resourceWarnings, resourceWrites } from "../../../src/cgroup/resources.ts";

describe("cgroup/resources", () => {
  test("only controllers of which something was asked are named", () => {
    expect(resourceWrites({}, 1)).toEqual([]);
    expect(resourceWrites({ memory: {}, cpu: { shares: 0 }, devices: [{ allow: false }] }, 2)).toEqual([]);
    const asked = { memory: { limit: 1 }, cpu: { shares: 2, cpus: "0" }, pids: { limit: 3 }, blockIO: { weight: 10 } };
    expect(resourceWrites(asked, 1).map((c) => c.controller)).toEqual(["cpuset", "memory", "cpu", "pids", "blkio"]);
    expect(resourceWrites(asked, 2).map((c) => c.controller)).toEqual(["pids", "memory", "io", "cpu", "cpuset"]);
  });

  test("files of v2 asked by name come last", () => {
    const list = resourceWrites({ unified: { "memory.max": "5" }, memory: { limit: 4 } }, 2);
    expect(list.map((c) => c.writes.map((write) => write.value))).toEqual([["4"], ["5"]]);
  });

  test("what only the other version has is refused by name", () => {
    expect(() => resourceWrites({ unified: { "memory.max": "1" } }, 1)).toThrow(
      "linux.resources.unified: needs cgroup v2",
    );
    expect(() => resourceWrites({ network: { classID: 1 } }, 2)).toThrow("linux.resources.network.classID");
    const priorities = [{ name: "lo", priority: 1 }];
    expect(() => resourceWrites({ network: { priorities } }, 2)).toThrow("linux.resources.network.priorities");
  });

  test("what can be done without is told, not refused", () => {
    const memory = { kernel: 1, kernelTCP: 1, swappiness: 60, disableOOMKiller: true };
    expect(resourceWarnings({ memory }, 1)).toHaveLength(2);
    expect(resourceWarnings({ memory }, 2)).toHaveLength(4);
    expect(resourceWarnings({ memory: { kernel: 0, disableOOMKiller: false } }, 2)).toEqual([]);
  });
});
