import { describe, expect, test } from "vitest";
import type { CgroupRecord } from "../../../src/cgroup/manager.ts";
import { killsText, tally, tallyFiles } from "../../../src/cgroup/tally.ts";

const V1: CgroupRecord = {
  layout: "v1",
  paths: { memory: "/m/a", cpu: "/c/a", cpuacct: "/c/a", pids: "/p/a" },
  made: ["/m/a", "/c/a", "/p/a"],
};
const V2: CgroupRecord = { layout: "v2", paths: { "": "/u/a" }, made: ["/u/a"] };

// The texts are what Linux 6.18 (v1) and 6.1 (v2) wrote.
describe("cgroup/tally", () => {
  test("v1: kills, the peak, CPU time of cpuacct and throttling of cpu", () => {
    const control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2";
    const stat = "nr_periods 37\nnr_throttled 36\nthrottled_time 1398089498\nnr_bursts 0\nburst_time 0\nwait_sum 0";
    expect(tally(1, [control, "25165824", stat, "759338414", "user 7\nsystem 68"])).toEqual({
      oomKills: 2,
      memoryPeak: 25165824,
      cpu: {
        usage: { total: 759338414, user: 70_000_000, kernel: 680_000_000 },
        throttling: { periods: 37, throttledPeriods: 36, throttledTime: 1398089498 },
      },
    });
  });

  test("v2: kills, the peak, CPU time and throttling in nanoseconds", () => {
    const events = "low 0\nhigh 0\nmax 84\noom 3\noom_kill 1\noom_group_kill 0";
    const stat =
      "usage_usec 43023\nuser_usec 20011\nsystem_usec 23012\nnr_periods 10\nnr_throttled 2\nthrottled_usec 900";
    expect(tally(2, [events, "25165824", stat])).toEqual({
      oomKills: 1,
      memoryPeak: 25165824,
      cpu: {
        usage: { total: 43_023_000, user: 20_011_000, kernel: 23_012_000 },
        throttling: { periods: 10, throttledPeriods: 2, throttledTime: 900_000 },
      },
    });
  });

  test("what is known of the kills alone is kept as the cgroup would say it", () => {
    for (const version of [1, 2] as const) {
      const kept = (answer: { oomKilled: boolean; oomKills?: number }) => tally(version, [killsText(answer)]);
      expect(kept({ oomKilled: true, oomKills: 2 })).toEqual({ oomKills: 2 });
      expect(kept({ oomKilled: false, oomKills: 0 })).toEqual({ oomKills: 0 });
      expect(kept({ oomKilled: true })).toEqual({ oomKilled: true });
    }
  });

  test("what is not there is not known, rather than 0", () => {
    expect(tally(1, [undefined, undefined, undefined, undefined, undefined])).toEqual({});
    expect(tally(2, ["", "", ""])).toEqual({});
  });

  test("a kernel before memory.peak, and one whose oom_control does not count kills", () => {
    expect(tally(2, ["oom_kill 0", undefined, undefined])).toEqual({ oomKills: 0 });
    expect(tally(1, ["oom_kill_disable 0\nunder_oom 0", "4096", undefined, undefined, undefined])).toEqual({
      memoryPeak: 4096,
    });
  });

  test("the files are those of the container's own cgroups", () => {
    expect(tallyFiles(V1)).toEqual([
      "/m/a/memory.oom_control",
      "/m/a/memory.max_usage_in_bytes",
      "/c/a/cpu.stat",
      "/c/a/cpuacct.usage",
      "/c/a/cpuacct.stat",
    ]);
    expect(tallyFiles(V2)).toEqual(["/u/a/memory.events", "/u/a/memory.peak", "/u/a/cpu.stat"]);
  });

  test("a cgroup that was there before has counted for others", () => {
    expect(tallyFiles({ ...V2, made: [] })).toEqual(["", "", ""]);
    const unit = (name: string) => ({ unit: name, bus: "system", token: "" }) as const;
    expect(tallyFiles({ ...V2, made: [], systemd: unit("web.slice") })).toEqual(["", "", ""]);
    expect(tallyFiles({ ...V2, made: [], systemd: unit("web.scope") })).toEqual(tallyFiles(V2));
    expect(tallyFiles({ ...V2, made: [], systemd: unit("web.scope"), shared: true })).toEqual(["", "", ""]);
    expect(tallyFiles({ ...V1, made: ["/m/a"] })).toEqual([
      "/m/a/memory.oom_control",
      "/m/a/memory.max_usage_in_bytes",
      "",
      "",
      "",
    ]);
  });
});
