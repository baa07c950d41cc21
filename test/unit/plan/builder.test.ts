import { describe, expect, test } from "vitest";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import { planOf } from "./helpers.ts";

describe("plan/builder", () => {
  test("descriptors begin after those of the process, and none is given twice", () => {
    const b = new PlanBuilder(5);
    expect([b.inherit("sync"), b.newFd(), b.inherit("plan"), b.newFd()]).toEqual([5, 6, 7, 8]);
    expect(b.plan().inherit).toEqual([
      { name: "sync", fd: 5 },
      { name: "plan", fd: 7 },
    ]);
  });

  test("steps keep their order and what asked for them", () => {
    const b = new PlanBuilder(3);
    b.add("hostname", "sethostname", "web");
    b.add("process", "setsid");
    expect(b.plan().steps).toEqual([
      { op: "sethostname", args: ["web"], about: "hostname" },
      { op: "setsid", args: [], about: "process" },
    ]);
  });

  test("what the process is handed on comes before every descriptor of the plan", () => {
    const { inherit } = planOf({ options: { preserveFds: 2, listenFds: 3 } });
    expect(inherit.map(({ fd }) => fd)).toEqual([8, 9]);
  });
});
