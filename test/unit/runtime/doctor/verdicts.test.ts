import { describe, expect, test } from "vitest";
import type { Outcome, Probes } from "../../../../src/runtime/doctor/probes.ts";
import { type Check, diagnose } from "../../../../src/runtime/doctor/verdicts.ts";

const refused = (code: string): Outcome => ({ code, why: `it: ${code}` });

/** A machine where all works, seen by root. */
const GOOD: Probes = {
  kernel: [6, 18],
  host: { euid: 0, egid: 0, privileged: true, userns: false },
  init: undefined,
  namespaces: {
    mount: undefined,
    cgroup: undefined,
    uts: undefined,
    ipc: undefined,
    user: undefined,
    pid: undefined,
    network: undefined,
    time: undefined,
  },
  proc: undefined,
  sysfs: undefined,
  pivot: undefined,
  keyring: undefined,
  seccomp: undefined,
  seccompActions: ["errno", "user_notif", "allow"],
  states: { path: "/run/tsrun", outcome: undefined },
  store: { path: "/var/lib/tsrun", outcome: undefined },
  overlay: {
    layers: undefined,
    single: undefined,
    userxattr: undefined,
    index: undefined,
    metacopy: undefined,
    redirect: undefined,
    volatile: undefined,
    idmapped: undefined,
  },
  cgroup: {
    layout: "v2",
    made: undefined,
    usable: ["cpu", "cpuset", "io", "memory", "pids"],
    known: ["cpu", "cpuset", "io", "memory", "pids"],
    devices: undefined,
  },
  subordinate: { uids: [], gids: [], hasPrograms: true, isComplete: true },
  ranges: undefined,
  lsm: ["capability", "apparmor"],
  programs: {
    criu: "/usr/sbin/criu",
    "fuse-overlayfs": "/usr/bin/fuse-overlayfs",
    pasta: "/usr/bin/pasta",
    slirp4netns: "/usr/bin/slirp4netns",
    newuidmap: "/usr/bin/newuidmap",
    newgidmap: "/usr/bin/newgidmap",
  },
  devices: { fuse: undefined, tun: undefined },
  systemd: { running: true, bus: true },
  sysctls: { "user.max_user_namespaces": "15000" },
};

const USER: Probes = {
  ...GOOD,
  host: { euid: 1000, egid: 1000, privileged: false, userns: false },
  subordinate: {
    uids: [{ first: 100000, count: 65536 }],
    gids: [{ first: 100000, count: 65536 }],
    hasPrograms: true,
    isComplete: true,
  },
};

function check(probes: Probes, name: string): Check | undefined {
  return diagnose(probes).checks.find((one) => one.name === name);
}

describe("doctor, verdicts", () => {
  test.each([
    ["root", GOOD],
    ["an ordinary user", USER],
  ])("where all works there is nothing to mend, for %s", (_, probes) => {
    const { canRun, checks } = diagnose(probes);
    expect(canRun).toBe(true);
    expect(checks.filter(({ status, fix }) => status !== "ok" || fix !== undefined)).toEqual([]);
  });

  test.each<[string, Partial<Probes>]>([
    ["an old kernel", { kernel: [5, 10] }],
    ["an init that cannot be executed", { init: refused("EACCES") }],
    ["no mount namespaces", { namespaces: { ...GOOD.namespaces, mount: refused("EPERM") } }],
    ["no procfs", { proc: refused("EPERM") }],
    ["no place for states", { states: { path: "/x", outcome: refused("EACCES") } }],
    ["no cgroup for root", { cgroup: { ...GOOD.cgroup, made: refused("EROFS") } }],
  ])("nothing runs with %s", (_, change) => {
    expect(diagnose({ ...GOOD, ...change }).canRun).toBe(false);
  });

  test("what few containers ask for is missing, and they run all the same", () => {
    const { canRun, checks } = diagnose({
      ...GOOD,
      namespaces: { ...GOOD.namespaces, time: refused("EINVAL"), user: refused("ENOSPC") },
      overlay: { ...GOOD.overlay, layers: refused("ENODEV"), single: refused("ENODEV") },
      seccomp: refused("EINVAL"),
      systemd: { running: false, bus: false },
      programs: { ...GOOD.programs, criu: undefined },
    });
    expect(canRun).toBe(true);
    const missing = checks.filter(({ status }) => status === "missing").map(({ name }) => name);
    expect(missing).toEqual([
      "namespace user",
      "namespace time",
      "seccomp",
      "overlay",
      "overlay lowerdir+",
      "criu",
      "systemd",
    ]);
  });

  test("what a container forbids is told with the flag that does without it", () => {
    const pivot = (why: string) => check({ ...GOOD, pivot: { code: "EPERM", why } }, "pivot_root");
    expect(pivot("pivot_root 5: EPERM")).toMatchObject({
      status: "limited",
      fix: expect.stringContaining("--no-pivot"),
    });
    // It was not tried, so nothing is known of it.
    expect(pivot("mkdir /var/x: EACCES")).toEqual({
      ...{ name: "pivot_root", status: "limited", detail: "not tried: mkdir /var/x: EACCES" },
    });
    expect(check({ ...GOOD, keyring: refused("EPERM") }, "session keyring")?.fix).toContain("--no-new-keyring");
    const network = { ...GOOD.namespaces, network: { code: "EPERM", why: "loopback: EPERM" } };
    expect(check({ ...GOOD, namespaces: network }, "namespace network")?.fix).toContain("CAP_NET_ADMIN");
    const made = refused("EROFS");
    expect(check({ ...GOOD, cgroup: { ...GOOD.cgroup, made } }, "cgroup")?.fix).toContain("--cgroup-manager disabled");
  });

  test("an ordinary user needs user namespaces, and hears which knob forbids them", () => {
    const namespaces = { ...USER.namespaces, user: refused("EPERM"), mount: refused("EPERM") };
    const knob = (sysctls: Record<string, string>) => check({ ...USER, namespaces, sysctls }, "namespace user")?.fix;
    expect(diagnose({ ...USER, namespaces }).canRun).toBe(false);
    expect(knob({ "kernel.unprivileged_userns_clone": "0" })).toBe("sysctl -w kernel.unprivileged_userns_clone=1");
    expect(knob({ "kernel.apparmor_restrict_unprivileged_userns": "1" })).toContain("AppArmor profile");
    expect(knob({})).toContain("denies it");
    const full = { ...USER, namespaces: { ...USER.namespaces, mount: refused("ENOSPC") } };
    expect(check(full, "namespace mount")?.fix).toContain("user.max_mnt_namespaces");
  });

  test("without a user namespace an ordinary user hears of that one, and of no fix that does not help", () => {
    const full: Outcome = { code: "ENOSPC", why: "clone3 user: ENOSPC (No space left on device)" };
    const namespaces = Object.fromEntries(Object.keys(USER.namespaces).map((type) => [type, full]));
    const overlay = { ...USER.overlay, layers: full, userxattr: full };
    const none = { ...USER, namespaces, overlay, pivot: full, seccomp: full, proc: full } as Probes;
    const { canRun, checks } = diagnose(none);
    expect(canRun).toBe(false);
    expect(checks.filter(({ fix }) => fix !== undefined).map(({ name }) => name)).toEqual(["namespace user"]);
    expect(check(none, "namespace user")?.fix).toContain("user.max_user_namespaces");
    for (const name of ["namespace mount", "pivot_root", "seccomp", "overlay", "mount proc"]) {
      expect(check(none, name)?.detail, name).toBe("not tried: it needs namespace user");
    }
  });

  test("in a container that may make no namespace, the reason is told once", () => {
    const no = (what: string): Outcome => ({ code: "EPERM", why: `${what}: EPERM (Operation not permitted)` });
    const namespaces = { ...GOOD.namespaces, mount: no("unshare mount"), network: no("unshare network") };
    const overlay = { ...GOOD.overlay, layers: no("unshare mount") };
    const probes = { ...GOOD, namespaces, overlay, pivot: no("unshare mount"), sysfs: no("unshare network,mount") };
    expect(check(probes, "namespace mount")?.fix).toContain("denies it");
    expect(check(probes, "overlay")).toMatchObject({
      status: "missing",
      detail: "not tried: it needs namespace mount",
    });
    expect(check(probes, "pivot_root")?.fix).toBeUndefined();
    expect(check(probes, "mount sysfs")?.detail).toBe("not tried: it needs namespace network and mount");
  });

  test("a masked /proc is told from a missing namespace", () => {
    expect(check({ ...GOOD, proc: refused("EPERM") }, "mount proc")?.fix).toContain("outer container");
    const namespaces = { ...GOOD.namespaces, pid: refused("EPERM") };
    expect(check({ ...GOOD, proc: refused("EPERM"), namespaces }, "mount proc")?.fix).toBeUndefined();
  });

  test("many ids need programs, ranges, and that both work", () => {
    expect(check(USER, "ids")).toMatchObject({ status: "ok", detail: "one's own, and 65536 from 100000 on" });
    const { subordinate } = USER;
    expect(check({ ...USER, subordinate: { ...subordinate, hasPrograms: false } }, "ids")).toMatchObject({
      status: "limited",
      fix: "apt-get install uidmap",
    });
    expect(check({ ...USER, subordinate: { ...subordinate, gids: [] } }, "ids")?.fix).toContain("--add-subgids");
    const why = (text: string): Outcome => ({ code: "", why: text });
    expect(check({ ...USER, ranges: why("write to uid_map failed: Operation not permitted") }, "ids")?.fix).toContain(
      "setuid",
    );
    expect(check({ ...USER, ranges: why("subuid overflow detected.") }, "ids")?.fix).toMatch(/entries .* in .*subuid/);
    expect(check({ ...GOOD, subordinate }, "ids")?.detail).toBe("all of the machine");
  });

  test("older kernels have fewer layers, and that is all", () => {
    const overlay = { ...GOOD.overlay, single: refused("EINVAL") };
    expect(check({ ...GOOD, overlay }, "overlay lowerdir+")).toMatchObject({ status: "limited" });
    expect(diagnose({ ...GOOD, overlay }).canRun).toBe(true);
  });

  test("what overlayfs keeps for root is no fault of the machine", () => {
    const overlay = { ...USER.overlay, metacopy: refused("EINVAL"), idmapped: refused("EPERM") };
    expect(check({ ...USER, overlay }, "overlay metacopy")).toEqual({
      name: "overlay metacopy",
      status: "limited",
      detail: "for root of the machine only",
    });
    expect(check({ ...GOOD, overlay }, "overlay metacopy")?.status).toBe("missing");
  });
});

describe("doctor, cgroups", () => {
  const made = refused("EACCES");

  test("a user without a cgroup runs without limits, and hears how to get one", () => {
    const v2 = { ...USER, cgroup: { ...USER.cgroup, made, usable: [] } };
    expect(diagnose(v2).canRun).toBe(true);
    expect(check(v2, "cgroup")).toMatchObject({ status: "limited" });
    expect(check(v2, "cgroup")?.fix).toContain("Delegate=yes");
    const hybrid = { ...v2, cgroup: { ...v2.cgroup, layout: "hybrid" as const } };
    expect(check(hybrid, "cgroup")?.fix).toContain("unified_cgroup_hierarchy");
  });

  test("controllers that are not handed down are named, with how to", () => {
    const cgroup = { ...USER.cgroup, usable: ["memory", "pids"] };
    const found = check({ ...USER, cgroup }, "cgroup controllers");
    expect(found).toMatchObject({ status: "limited", detail: "memory pids; not cpu cpuset io" });
    expect(found?.fix).toContain("Delegate=cpu cpuset io memory pids");
    const unknown = { ...cgroup, known: ["memory", "pids"] };
    expect(check({ ...USER, cgroup: unknown }, "cgroup controllers")?.fix).toContain("cgroup_disable");
  });

  test("without cgroups there are no limits, and no cgroup is asked for", () => {
    const none = { ...GOOD, cgroup: { ...GOOD.cgroup, layout: "none" as const } };
    expect(diagnose(none).canRun).toBe(true);
    expect(check(none, "cgroup")?.status).toBe("limited");
  });

  test("device rules are root's to set", () => {
    const cgroup = { ...GOOD.cgroup, devices: refused("EPERM") };
    expect(check({ ...GOOD, cgroup }, "cgroup devices")).toMatchObject({ status: "missing" });
    expect(check({ ...USER, cgroup }, "cgroup devices")).toBeUndefined();
  });
});
