import { describe, expect, test } from "vitest";
import { type ExecPlanRequest, planExec } from "../../../src/plan/exec.ts";
import type { ResolvedProcess } from "../../../src/spec/container.ts";
import { HOST } from "../spec/helpers.ts";
import { linesOf } from "./helpers.ts";

const NEWUSER = 0x10000000;
const NEWNS = 0x20000;
const NEWPID = 0x20000000;

function planOf(change: Partial<ExecPlanRequest> & { with?: Partial<ResolvedProcess> } = {}) {
  const { with: more, ...request } = change;
  const process: ResolvedProcess = { args: ["tool"], env: ["PATH=/bin"], cwd: "/", user: { uid: 0, gid: 0 }, ...more };
  return planExec({
    id: "web",
    process,
    namespaces: NEWNS | NEWPID,
    cgroupDirectory: false,
    cgroupTasks: [],
    setgroups: true,
    setupIds: { uid: 0, gid: 0 },
    host: HOST,
    preserveFds: 0,
    noNewKeyring: true,
    home: undefined,
    available: 2n ** 41n - 1n,
    seccomp: undefined,
    ...request,
  });
}

describe("plan/exec", () => {
  test("the namespaces are joined by one descriptor, and then the process is made", () => {
    const plan = planOf();
    const fd = plan.inherit.find(({ name }) => name === "container")?.fd;
    expect(linesOf(plan).slice(0, 3)).toEqual([`setns ${fd} mount,pid`, `close ${fd}`, "clone3 no new namespace"]);
    expect(linesOf(plan).at(-1)).toBe("execve [tool] with 1 variables");
  });

  test("the cgroup is joined by the clone on v2 and by writing to tasks on v1", () => {
    expect(linesOf(planOf({ cgroupDirectory: true })).some((line) => /^clone3 .* into cgroup \d+$/.test(line))).toBe(
      true,
    );
    const lines = linesOf(planOf({ cgroupTasks: ["memory", "pids"] }), "cgroup of the container");
    expect(lines.filter((line) => line.startsWith("write 0 to"))).toHaveLength(2);
  });

  test("in a user namespace it becomes who set the container up before it does anything else", () => {
    const lines = linesOf(planOf({ namespaces: NEWUSER | NEWNS, setupIds: { uid: 7, gid: 8 } }));
    const clone = lines.findIndex((line) => line.startsWith("clone3"));
    expect(lines[clone + 1]).toBe("become uid 7 gid 8");
    expect(linesOf(planOf()).some((line) => line.startsWith("become"))).toBe(false);
  });

  test("without a mount namespace the root is changed to, right after the process is made", () => {
    const plan = planOf({ namespaces: NEWPID, changesRoot: true });
    const root = plan.inherit.find(({ name }) => name === "root")?.fd;
    const lines = linesOf(plan);
    const clone = lines.findIndex((line) => line.startsWith("clone3"));
    expect(lines.slice(clone + 1, clone + 3)).toEqual([`chroot ${root}`, `close ${root}`]);
    expect(linesOf(planOf()).some((line) => line.startsWith("chroot"))).toBe(false);
  });

  test("a terminal is one of the container's", () => {
    const lines = linesOf(planOf({ with: { terminal: true, user: { uid: 5, gid: 5 } } }));
    expect(lines.some((line) => /^pty \d+ \d+$/.test(line))).toBe(true);
    expect(lines).toContain("fchown 0 5:-1");
  });

  test("descriptors begin after those that are preserved, and from there on are closed", () => {
    const plan = planOf({ preserveFds: 3 });
    expect(plan.inherit.map(({ fd }) => fd)).toEqual([6, 7, 8]);
    expect(linesOf(plan)).toContain("close_range 6 at exec");
  });

  test("user, capabilities and command come as in a container's own process", () => {
    const lines = linesOf(
      planOf({ with: { user: { uid: 5, gid: 6, additionalGids: [7] }, capabilities: { bounding: ["CAP_KILL"] } } }),
    );
    expect(lines).toEqual(
      expect.arrayContaining(["user 5 group 6 groups [7]", "bounding set kill", "find executable [/bin/tool]"]),
    );
  });
});
