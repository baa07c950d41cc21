import { describe, expect, test } from "vitest";
import { joinFds, removalOrder } from "../../../src/cgroup/manager.ts";

const hybrid = {
  layout: "hybrid" as const,
  paths: {
    cpu: "/c/cpu,cpuacct/p/x",
    cpuacct: "/c/cpu,cpuacct/p/x",
    "name=systemd": "/c/systemd/p/x",
    "": "/c/unified/p/x",
  },
  made: ["/c/cpu,cpuacct/p", "/c/cpu,cpuacct/p/x", "/c/systemd/p/x", "/c/unified/p/x"],
};

describe("cgroup/manager", () => {
  test("a hierarchy is joined once, however many controllers it has", () => {
    expect(joinFds(hybrid)).toEqual([
      { name: "cpu", path: "/c/cpu,cpuacct/p/x/tasks", kind: "tasks" },
      { name: "name=systemd", path: "/c/systemd/p/x/tasks", kind: "tasks" },
      { name: "unified", path: "/c/unified/p/x", kind: "directory" },
    ]);
    expect(joinFds({ paths: {} })).toEqual([]);
  });

  test("a v2 cgroup that was there before is not one to be born in, but one below a new one is", () => {
    const paths = { "": "/c/p/x" };
    const join = { name: "unified", path: "/c/p/x", kind: "directory" };
    expect(joinFds({ paths, made: [] })).toEqual([{ ...join, isReused: true }]);
    expect(joinFds({ paths, made: ["/c/p/x"] })).toEqual([join]);
    expect(joinFds({ paths, made: ["/c/p"] })).toEqual([join]);
    expect(joinFds({ paths, made: ["/c/p/x2"] })).toEqual([{ ...join, isReused: true }]);
  });

  test("removal goes bottom up, and parents are told from the container's own cgroups", () => {
    expect(removalOrder(hybrid)).toEqual([
      { path: "/c/unified/p/x", leaf: true },
      { path: "/c/systemd/p/x", leaf: true },
      { path: "/c/cpu,cpuacct/p/x", leaf: true },
      { path: "/c/cpu,cpuacct/p", leaf: false },
    ]);
  });
});
