/** linux.intelRdt where there is no resctrl. How its groups are made is in unit/runtime/intel-rdt: few machines have one. */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, expectNothingLeft, inventory, run, runBundle, stateOf } from "../helpers/runtime.ts";

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
});
