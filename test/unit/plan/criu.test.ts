import { describe, expect, test } from "vitest";
import { planCriu, rootIn, treeIn } from "../../../src/plan/criu.ts";
import { describePlan } from "../../../src/plan/describe.ts";

const words = (request: Parameters<typeof planCriu>[0]) =>
  describePlan(planCriu(request).plan).map((line) => line.replace(/^ *\d+ {2}/, "").replace(/ {2}# .*$/, ""));

const RESTORE = {
  cgroupBySystemd: false,
  cgroupTasks: ["unified"],
  place: "/run/tsrun/c",
  root: "/bundle/rootfs",
  targets: [{ path: "/data", kind: "directory" as const }],
  trees: [],
};

describe("plan/criu", () => {
  test("for a dump criu is executed and nothing else", () => {
    expect(words({ program: "/usr/sbin/criu", env: ["A=1"], kept: [] })).toEqual([
      "umask 0022",
      "find executable [/usr/sbin/criu]",
      "close_range 4 at exec",
      "execve [/usr/sbin/criu swrk 3] with 1 variables",
    ]);
  });

  test("for a restore the root is mounted in a mount namespace of its own, in the container's cgroup", () => {
    const lines = words({ program: "/usr/sbin/criu", env: [], kept: [], restore: RESTORE });
    const at = (text: string) => {
      const found = lines.findIndex((line) => line.includes(text));
      expect(found, text).toBeGreaterThanOrEqual(0);
      return found;
    };
    expect(at("write 0 to")).toBeLessThan(at("unshare mount"));
    expect(at("unshare mount")).toBeLessThan(at("slave"));
    // From then on nothing that is mounted reaches the host.
    expect(at("slave")).toBeLessThan(at("move_mount"));
    expect(at("fsmount")).toBeLessThan(at("target /root"));
    expect(at("target /root")).toBeLessThan(at("target /data"));
    expect(at("target /data")).toBeLessThan(at("execve"));
  });

  test("where systemd makes the cgroup, criu waits for it first", () => {
    const restore = { ...RESTORE, cgroupBySystemd: true, cgroupTasks: [] };
    expect(words({ program: "/c", env: [], kept: [], restore })[0]).toContain("wait for the runtime");
  });

  test("a root that is mounted already is inherited", () => {
    const { plan } = planCriu({ program: "/c", env: [], kept: [], restore: { ...RESTORE, root: undefined } });
    expect(plan.inherit.map(({ name }) => name)).toContain("rootfs");
    expect(plan.steps.some(({ op }) => op === "openTree")).toBe(false);
  });

  test("criu keeps the descriptors that it is told of, and no other", () => {
    const { plan, numbers } = planCriu({ program: "/c", env: [], kept: ["ns:network"], restore: RESTORE });
    expect([...numbers]).toEqual([
      ["criu", 3],
      ["ns:network", 4],
    ]);
    expect(plan.steps.find(({ op }) => op === "cloexecFrom")?.args).toEqual([5]);
  });

  test("places below the cover have names of one component", () => {
    expect(rootIn("/run/c")).toBe("/run/c/root");
    expect(treeIn("/run/c", "tree:3")).toBe("/run/c/tree-3");
  });
});
