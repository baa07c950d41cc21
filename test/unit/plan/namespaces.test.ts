import { describe, expect, test } from "vitest";
import { type FullSpec, linesOf, planOf, stepsOf } from "./helpers.ts";

const mapped = ({ linux }: FullSpec) => {
  linux.namespaces?.push({ type: "user" });
  linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
  linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
};

describe("plan/namespaces", () => {
  test("new namespaces come with the clone, but the cgroup one after its cgroup is joined", () => {
    const plan = planOf({
      spec: ({ linux }) => void linux.namespaces?.push({ type: "cgroup" }),
      parameters: { cgroupTasks: ["memory", "pids"] },
    });
    const lines = linesOf(plan);
    expect(lines[0]).toMatch(/^clone3 /);
    expect(lines[0]).not.toContain("cgroup");
    expect(lines.indexOf("unshare cgroup")).toBeGreaterThan(
      lines.findLastIndex((line) => line.startsWith("write 0 to")),
    );
    expect(plan.inherit.map(({ name }) => name)).toEqual(["sync", "plan", "tasks:memory", "tasks:pids"]);
  });

  test("on v2 the clone is into the cgroup", () => {
    const plan = planOf({ parameters: { cgroupDirectory: true } });
    const fd = plan.inherit.find(({ name }) => name === "cgroup")?.fd;
    expect(linesOf(plan)[0]).toMatch(new RegExp(`^clone3 .* into cgroup ${fd}$`));
    expect(linesOf(plan)[1]).toBe(`close ${fd}`);
  });

  test("network devices come when their namespace is there, before its sysctls are written", () => {
    const lines = stepsOf({
      spec: ({ linux }) => {
        linux.netDevices = { eth1: {} };
        linux.sysctl = { "net.ipv4.conf.eth1.forwarding": "1" };
      },
    });
    const at = lines.indexOf("wait for the runtime (network devices)");
    expect(at).toBeGreaterThan(lines.findIndex((line) => line.startsWith("clone3")));
    expect(at).toBeLessThan(lines.findIndex((line) => line.startsWith("openat2 sys/net")));
    const none = stepsOf({ spec: ({ linux }) => void Object.assign(linux, { netDevices: {} }) });
    expect(none.join()).not.toContain("network devices");
  });

  test("a cgroup namespace that is joined with a user namespace comes after the cgroup is entered", () => {
    const spec = ({ linux }: FullSpec) => {
      linux.namespaces = [
        { type: "mount" },
        { type: "uts" },
        { type: "user", path: "/n/user" },
        { type: "cgroup", path: "/n/cgroup" },
      ];
    };
    const plan = planOf({ spec, parameters: { cgroupDirectory: true } });
    expect(linesOf(plan).slice(0, 7)).toEqual([
      expect.stringMatching(/^write 0 to (\d+)$/),
      expect.stringMatching(/^close/),
      expect.stringMatching(/^setns \d+ cgroup$/),
      expect.stringMatching(/^close/),
      expect.stringMatching(/^setns \d+ user$/),
      expect.stringMatching(/^close/),
      expect.stringMatching(/^clone3 (?!.*into cgroup)/),
    ]);
    expect(plan.inherit.map(({ name }) => name)).not.toContain("cgroup");
    // On v1 the process writes itself into its cgroups wherever it is.
    expect(linesOf(planOf({ spec }))[0]).toMatch(/^setns \d+ cgroup$/);
  });

  const joining = ({ linux }: FullSpec) => {
    linux.namespaces = [
      { type: "uts" },
      { type: "user", path: "/n/user" },
      { type: "network", path: "/n/net" },
      { type: "mount" },
    ];
  };

  test("a user namespace is joined last by who is privileged, as joining it gives that up", () => {
    const joins = stepsOf({ spec: joining }).filter((line) => line.startsWith("setns"));
    expect(joins.map((line) => line.split(" ")[2])).toEqual(["network", "user"]);
  });

  test("and first by who is not, as joining it gives the right to the others", () => {
    const joins = stepsOf({ spec: joining, host: { privileged: false } }).filter((line) => line.startsWith("setns"));
    expect(joins.map((line) => line.split(" ")[2])).toEqual(["user", "network"]);
  });

  test("each descriptor of a namespace is closed before the container's process exists", () => {
    const lines = stepsOf({ spec: joining });
    expect(
      lines
        .slice(
          0,
          lines.findIndex((line) => line.startsWith("clone3")),
        )
        .filter((line) => line.startsWith("close")),
    ).toHaveLength(2);
  });

  test("in a new user namespace nothing is done before its ids are mapped, and then as its root", () => {
    const lines = stepsOf({ spec: mapped });
    const clone = lines.findIndex((line) => line.startsWith("clone3"));
    expect(lines.slice(clone + 1, clone + 3)).toEqual(["wait for the runtime (id maps)", "become uid 0 gid 0"]);
  });

  test("a runtime that is not root can write the maps, and nobody looks in afterwards", () => {
    const lines = stepsOf({ spec: mapped, host: { euid: 1000, egid: 1000, privileged: false } });
    const clone = lines.findIndex((line) => line.startsWith("clone3"));
    expect(lines.slice(clone + 1, clone + 5)).toEqual([
      "dumpable 1",
      "wait for the runtime (id maps)",
      "dumpable 0",
      "become uid 0 gid 0",
    ]);
  });

  test("hostname and domainname where asked for, lo in a new network namespace alone", () => {
    const spec = (change: Partial<FullSpec>) => (spec: FullSpec) => void Object.assign(spec, change);
    expect(stepsOf({ spec: spec({ hostname: "web", domainname: "example" }) })).toEqual(
      expect.arrayContaining(["sethostname web", "setdomainname example", "loopback"]),
    );
    const joined = stepsOf({
      spec: ({ linux }) => {
        linux.namespaces = [{ type: "mount" }, { type: "uts" }, { type: "network", path: "/n/net" }];
      },
    });
    expect(joined).not.toContain("loopback");
  });

  test("the session keyring is the container's own unless the caller's is asked for", () => {
    expect(stepsOf({})).toContain("keyring _ses.web");
    expect(stepsOf({ options: { noNewKeyring: true } }).some((line) => line.startsWith("keyring"))).toBe(false);
  });

  test("the oom score is set before the clone, where it can still be lowered", () => {
    const lines = stepsOf({ spec: ({ process }) => void Object.assign(process, { oomScoreAdj: -5 }) });
    expect(lines.slice(0, 2)).toEqual([
      expect.stringMatching(/^open \/proc\/self\/oom_score_adj/),
      expect.stringMatching(/^write -5 to/),
    ]);
  });
});
