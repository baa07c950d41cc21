import { describe, expect, test } from "vitest";
import { type Host, mappedRanges, subordinateRanges } from "../../../src/host.ts";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { bindSysfs, unprivilegedProblems } from "../../../src/spec/unprivileged.ts";
import { HOST } from "./helpers.ts";

const USER: Host = {
  ...HOST,
  privileged: false,
  euid: 1000,
  egid: 1000,
  capabilities: 0n,
  subordinate: {
    uids: [{ first: 100000, count: 65536 }],
    gids: [{ first: 100000, count: 65536 }],
    hasPrograms: true,
    isComplete: true,
  },
};

type FullSpec = Spec & Required<Pick<Spec, "mounts" | "linux">>;

function problems(
  change: (spec: FullSpec) => void,
  host: Partial<Host> = {},
  hasLayers = false,
  options = {},
): string[] {
  const spec = defaultSpec({ rootless: { uid: 1000, gid: 1000 } }) as FullSpec;
  change(spec);
  const rootfs = { overlayOptions: [], ...options, layers: hasLayers ? ["/a"] : undefined };
  return unprivilegedProblems(spec, { ...USER, ...host }, rootfs).map(({ path, message }) => `${path}: ${message}`);
}

const RANGE = [
  { containerID: 0, hostID: 1000, size: 1 },
  { containerID: 1, hostID: 100000, size: 65536 },
];

describe("spec/unprivileged", () => {
  test("the config that spec --rootless writes has nothing that an ordinary user may not", () => {
    expect(problems(() => {})).toEqual([]);
  });

  test("root, and who has no user namespace at all, hears nothing of it here", () => {
    const disk = (spec: FullSpec) => spec.mounts.push({ destination: "/d", type: "ext4", source: "/dev/sda" });
    expect(problems(disk, { privileged: true, euid: 0 })).toEqual([]);
    expect(
      problems((spec) => {
        spec.linux.namespaces = [{ type: "mount" }];
      }),
    ).toEqual([]);
  });

  test("everything that cannot work is named at once", () => {
    const found = problems((spec) => {
      spec.mounts.push({ destination: "/disk", type: "ext4", source: "/dev/sda" });
      spec.linux.namespaces = [{ type: "mount" }, { type: "user" }, { type: "network" }];
      spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
      spec.linux.sysctl = { "net.ipv4.ping_group_range": "0 2147483647" };
    });
    expect(found.map((line) => line.slice(0, line.indexOf(":")))).toEqual([
      "mounts[0] /proc",
      "mounts[4] /dev/mqueue",
      "mounts[7] /disk",
      "linux.uidMappings[0]",
      "linux.sysctl.net.ipv4.ping_group_range",
    ]);
    expect(found[0]).toContain('add {"type": "pid"}');
    expect(found[3]).toContain("newuidmap will not map 0 to 9: this user's ids in /etc/subuid are 100000 to 165535");
  });

  test("bind mounts, FUSE and what a user namespace may mount are no problem", () => {
    const change = (spec: FullSpec) =>
      spec.mounts.push(
        { destination: "/a", source: "/a", type: "ext4", options: ["rbind"] },
        { destination: "/b", source: "b", type: "fuse.sshfs" },
        { destination: "/c", source: "c", type: "overlay" },
      );
    expect(problems(change)).toEqual([]);
  });

  test("ranges of the user need the two programs", () => {
    const change = (spec: FullSpec) => {
      spec.linux.uidMappings = RANGE;
      spec.linux.gidMappings = RANGE;
    };
    expect(problems(change)).toEqual([]);
    const without = { subordinate: { ...USER.subordinate, hasPrograms: false } };
    expect(problems(change, without)).toEqual([expect.stringContaining("package uidmap")]);
    // Another source of ranges than the files may have them.
    const elsewhere = { subordinate: { uids: [], gids: [], hasPrograms: true, isComplete: false } };
    expect(problems(change, elsewhere)).toEqual([]);
    const none = { subordinate: { uids: [], gids: [], hasPrograms: true, isComplete: true } };
    expect(problems(change, none).map((line) => line.slice(-4))).toEqual(["none", "none"]);
  });

  test("groups that may ping must be mapped; '1 0' is nobody", () => {
    const ping = (value: string) => (spec: FullSpec) => {
      spec.linux.sysctl = { "net.ipv4.ping_group_range": value };
    };
    expect(problems(ping("0 0"))).toEqual([]);
    expect(problems(ping("1 0"))).toEqual([]);
    expect(problems(ping("0 1"))).toHaveLength(1);
  });

  test("owners that a mount gives must be mapped; options that are root's are named", () => {
    const mount =
      (type: string, ...options: string[]) =>
      (spec: FullSpec) =>
        spec.mounts.push({ destination: "/m", type, source: "x", options });
    expect(problems(mount("devpts", "newinstance", "gid=5"))).toEqual([
      'mounts[7] /m: "gid=5" is not in linux.gidMappings',
    ]);
    expect(problems(mount("tmpfs", "uid=0", "gid=0"))).toEqual([]);
    expect(problems(mount("tmpfs", "uid=1"))).toHaveLength(1);
    for (const option of ["noswap", "quota", "usrquota", "usrquota_block_hardlimit=5"]) {
      expect(problems(mount("tmpfs", option))).toEqual([
        `mounts[7] /m: "${option}" of a tmpfs is for root of the machine only`,
      ]);
    }
    expect(problems(mount("overlay", "lowerdir=/a:/b", "metacopy=on"))).toHaveLength(1);
    expect(problems(mount("bpf"))).toHaveLength(1);
    // A bind has no such options of its own.
    expect(problems(mount("tmpfs", "rbind", "gid=5"))).toEqual([]);
  });

  test("groups beside one's own need a range", () => {
    const groups = (spec: FullSpec) => {
      spec.process = { ...spec.process, cwd: "/", user: { uid: 0, gid: 0, additionalGids: [0] } };
    };
    expect(problems(groups)).toEqual([expect.stringMatching(/^process\.user\.additionalGids: /)]);
    const ranges = (spec: FullSpec) => {
      groups(spec);
      spec.linux.gidMappings = RANGE;
    };
    expect(problems(ranges)).toEqual([]);
    // Those of the caller are kept then, and none is set.
    const kept = (spec: FullSpec) => {
      groups(spec);
      spec.annotations = { "run.oci.keep_original_groups": "1" };
    };
    expect(problems(kept)).toEqual([]);
  });

  test("a namespace of others is joined with its user namespace only", () => {
    const join =
      (...paths: [string, string][]) =>
      (spec: FullSpec) => {
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) =>
          paths.every(([other]) => type !== other),
        );
        for (const [type, path] of paths) spec.linux.namespaces?.push({ type: type as "network", path });
      };
    expect(problems(join(["network", "/proc/7/ns/net"]))).toEqual([
      expect.stringMatching(/^linux\.namespaces\[\d\]\.path: a network namespace can be joined only together with/),
    ]);
    expect(problems(join(["user", "/proc/7/ns/user"], ["network", "/proc/7/ns/net"]))).toEqual([]);
    expect(problems(join(["network", "/proc/7/ns/net"]), { capabilities: 1n << 21n })).toEqual([]);
  });

  test("kernel.domainname is written by domainname", () => {
    const sysctl = (key: string) => (spec: FullSpec) => {
      spec.linux.sysctl = { [key]: "x" };
    };
    expect(problems(sysctl("kernel.domainname"))).toHaveLength(1);
    expect(problems(sysctl("kernel/domainname"))).toHaveLength(1);
    expect(problems(sysctl("kernel.shmmax"))).toEqual([]);
  });

  test("layers are in the store of the caller, who must be somebody in the container", () => {
    const subordinateOnly = (spec: FullSpec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
    };
    expect(problems(subordinateOnly)).toEqual([]);
    expect(problems(subordinateOnly, {}, true)).toEqual([expect.stringContaining("user 1000 of the host")]);
  });

  test("root of a user namespace hears which ids that one has", () => {
    const ownIds = {
      uids: [
        { first: 0, count: 1 },
        { first: 1, count: 9 },
      ],
      gids: [{ first: 0, count: 1 }],
    };
    const nested = { euid: 0, egid: 0, userns: true, ownIds };
    const map = (hostID: number, size: number) => (spec: FullSpec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID, size }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
    };
    expect(problems(map(0, 10), nested)).toEqual([]);
    expect(problems(map(5, 6), nested)).toEqual([
      "linux.uidMappings[0]: the user namespace that tsrun is in has no ids 5 to 10: 0 to 0, 1 to 9",
    ]);
    expect(problems(map(1000, 1), nested)).toHaveLength(1);
  });

  test("what overlayfs keeps for root", () => {
    const asked = (options: object) => problems(() => {}, {}, true, options);
    expect(asked({ overlayOptions: ["metacopy", "idmap", "volatile", "index"] })).toHaveLength(2);
    expect(asked({})).toEqual([]);
  });

  test("a sysfs without a network namespace of its own becomes a bind of the host's, with its options", () => {
    const sysfs = { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro", "nosuid"] };
    const bound = { destination: "/sys", type: "none", source: "/sys", options: ["rbind", "ro", "nosuid"] };
    const user = { namespaces: [{ type: "user" as const }] };
    expect(bindSysfs(sysfs, user, USER)).toEqual(bound);
    expect(bindSysfs(sysfs, { namespaces: [...user.namespaces, { type: "network" }] }, USER)).toBe(sysfs);
    expect(bindSysfs(sysfs, user, HOST)).toBe(sysfs);
    expect(bindSysfs(sysfs, {}, USER)).toBe(sysfs);
  });
});

test("host: ranges of subuid(5) are given by name or by number", () => {
  const text =
    "root:1:2\nann:100000:65536\n# comment\n1000:300000:10\nanna:5:5\nann:broken\nann:0:0\nann:4294967290:6\n";
  expect(subordinateRanges(text, "ann", 1000)).toEqual([
    { first: 100000, count: 65536 },
    { first: 300000, count: 10 },
  ]);
  expect(subordinateRanges(text, undefined, 7)).toEqual([]);
});

test("host: ids of a namespace are the first and the last column of its map", () => {
  expect(mappedRanges("         0       1000          1\n         1     100000      65536\n")).toEqual([
    { first: 0, count: 1 },
    { first: 1, count: 65536 },
  ]);
  expect(mappedRanges("")).toEqual([]);
});
