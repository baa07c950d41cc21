/** linux.intelRdt where there is no resctrl. How its groups are made is in unit/runtime/intel-rdt: few machines have one. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, expectNothingLeft, inventory, run, runBundle, runOk, stateOf } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const own = needs({ root: true, tsrun: true });
const hasResctrl = () => readFileSync("/proc/self/mountinfo", "utf8").includes(" - resctrl ");

afterAll(deleteContainers);

describe("without resctrl", () => {
  own("a container that asks for shares of the cache is refused, with what to do, and nothing is left", ({ skip }) => {
    skip(hasResctrl(), "resctrl is mounted here");
    const before = inventory();
    const bundle = makeBundle({
      edit: (spec) => {
        spec.linux.intelRdt = { l3CacheSchema: "L3:0=f" };
      },
    });
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("linux.intelRdt: resctrl is not mounted");
    expect(result.stderr).toContain("mount -t resctrl");
    expectNothingLeft(before);
  });

  own("update says the same, refuses what is no schema, and the container goes on", ({ skip }) => {
    skip(hasResctrl(), "resctrl is mounted here");
    const { id } = startContainer(sleepingBundle());
    const refused = run(["update", "--l3-cache-schema", "L3:0=f", id]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("resctrl is not mounted") });
    const wrong = run(["update", "--mem-bw-schema", "L3:0=f", id]);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("intelRdt.memBwSchema: must be one line") });
    expect(stateOf(id)?.status).toBe("running");
  });

  own("events tells of the shares of a container, and of what it has used of them", () => {
    const { id } = startContainer(sleepingBundle());
    const stats = () => JSON.parse(runOk(["events", "--stats", id])).data.intel_rdt;
    expect(stats()).toEqual({});
    // A tree of files in place of resctrl, and a state that has the container in a class of service there.
    const group = join(scratch("resctrl"), "gold");
    mkdirSync(join(group, "mon_data/mon_L3_00"), { recursive: true });
    writeFileSync(join(group, "schemata"), "    L3:0=00f\n    MB:0= 50\n");
    writeFileSync(join(group, "mon_data/mon_L3_00/llc_occupancy"), "65536\n");
    const state = `/run/tsrun/${id}/state.json`;
    const intelRdt = { group, isOurs: false, isNamed: true };
    writeFileSync(state, JSON.stringify({ ...JSON.parse(readFileSync(state, "utf8")), intelRdt }));
    expect(stats()).toEqual({
      l3_cache_schema: "L3:0=00f",
      mem_bw_schema: "MB:0= 50",
      cmt_stats: [{ llc_occupancy: 65536 }],
    });
  });
});
