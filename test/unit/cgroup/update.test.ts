import { describe, expect, test } from "vitest";
import { mergeResources } from "../../../src/cgroup/update.ts";

describe("cgroup/update", () => {
  test("what was asked for takes the place of what was, member by member", () => {
    const before = {
      memory: { limit: 1, swap: 2 },
      cpu: { shares: 3 },
      hugepageLimits: [{ pageSize: "2MB", limit: 1 }],
    };
    const asked = { memory: { limit: 9 }, pids: { limit: 4 }, hugepageLimits: [{ pageSize: "1GB", limit: 2 }] };
    expect(mergeResources(before, asked)).toEqual({
      memory: { limit: 9, swap: 2 },
      cpu: { shares: 3 },
      pids: { limit: 4 },
      hugepageLimits: [{ pageSize: "1GB", limit: 2 }],
    });
    expect(before.memory.limit).toBe(1);
  });
});
