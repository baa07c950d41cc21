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

  test("a plan with very many descriptors takes numbers again that were closed, but not for what is inherited", () => {
    const b = new PlanBuilder(3);
    const early = b.newFd();
    b.add("first", "close", early);
    const numbers = Array.from({ length: 2000 }, () => {
      const fd = b.newFd();
      b.add("mounts", "close", fd);
      return fd;
    });
    expect(Math.max(...numbers)).toBeLessThan(1000);
    expect(numbers).not.toContain(early);
    const open = b.newFd();
    expect(b.newFd()).not.toBe(open);
    const inherited = b.inherit("tree:1");
    expect(numbers).not.toContain(inherited);
    expect(inherited).not.toBe(open);
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
