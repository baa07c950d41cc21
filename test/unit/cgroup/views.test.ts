import { describe, expect, test } from "vitest";
import { cgroupViews } from "../../../src/cgroup/views.ts";

const at = (mount: string, controllers: string[]) => ({ controllers, mount, root: "/", own: mount });

describe("cgroup/views", () => {
  test("v1 hierarchies by the names of their mounts, with the options that select them; the unified one is left out", () => {
    const hierarchies = {
      layout: "hybrid" as const,
      v1: [at("/c/cpu,cpuacct", ["cpu", "cpuacct"]), at("/c/systemd", ["name=systemd"])],
      unified: at("/c/unified", []),
    };
    const paths = {
      cpu: "/c/cpu,cpuacct/x",
      cpuacct: "/c/cpu,cpuacct/x",
      "name=systemd": "/c/systemd/x",
      "": "/c/unified/x",
    };
    expect(cgroupViews({ layout: "hybrid", paths, made: [] }, hierarchies)).toEqual([
      { name: "cpu,cpuacct", options: ["cpu", "cpuacct"], path: "/c/cpu,cpuacct/x" },
      { name: "systemd", options: ["none", "name=systemd"], path: "/c/systemd/x" },
    ]);
  });

  test("v2 as a whole", () => {
    const hierarchies = { layout: "v2" as const, v1: [], unified: at("/c", []) };
    const views = [{ name: "", options: [], path: "/c/x" }];
    expect(cgroupViews({ layout: "v2", paths: { "": "/c/x" }, made: [] }, hierarchies)).toEqual(views);
  });
});
