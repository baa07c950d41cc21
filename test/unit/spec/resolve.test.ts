import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import type { Host } from "../../../src/host.ts";
import type { ResolveOptions } from "../../../src/spec/container.ts";
import { resolve } from "../../../src/spec/resolve.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { config, HOST } from "./helpers.ts";

// biome-ignore lint/suspicious/noExplicitAny: a config that is wrong has no type
type Change = (spec: any) => void;

function resolved(change: Change = () => {}, options: Partial<ResolveOptions> = {}, host: Partial<Host> = {}) {
  return resolve(config(change) as Spec, { id: "web", bundle: "/b", ...options }, { ...HOST, ...host });
}

function problems(change: Change, options: Partial<ResolveOptions> = {}, host: Partial<Host> = {}): string[] {
  try {
    resolved(change, options, host);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

describe("spec/resolve", () => {
  describe("without a mount namespace", () => {
    const shared: Change = (spec) => {
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== "mount");
      delete spec.linux.maskedPaths;
      delete spec.linux.readonlyPaths;
    };

    test("the mounts are those of the runtime, and that is told", () => {
      const { hostMounts, warnings } = resolved(shared);
      expect(hostMounts).toBe(true);
      expect(warnings.map(({ path }) => path)).toEqual(["linux.namespaces"]);
      expect(warnings[0]?.message).toContain("lack a mount namespace");
      expect(resolved().hostMounts).toBe(false);
    });

    test("layers, a user namespace and a caller who is not root are refused", () => {
      expect(problems(shared, { layers: ["/l"] })).toEqual([
        expect.stringContaining("for the layers to be mounted in"),
      ]);
      const mapped: Change = (spec) => {
        shared(spec);
        spec.linux.namespaces.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 10 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 10 }];
      };
      expect(problems(mapped)).toEqual([expect.stringContaining("a user namespace may not mount")]);
      expect(problems(shared, {}, { privileged: false })).toEqual([
        expect.stringContaining("a user namespace may not mount"),
      ]);
    });
  });

  test("the default config", () => {
    const container = resolved();
    expect(container).toMatchObject({
      id: "web",
      bundle: "/b",
      rootfs: { path: "/b/rootfs", layers: undefined, rwLayer: undefined, overlayOptions: [], readonly: true },
      namespaces: { create: 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000, join: [] },
      userns: false,
      uidMappings: [],
      gidMappings: [],
      warnings: [],
    });
  });

  test("the config it was given stays as it was", () => {
    const spec = config();
    const before = structuredClone(spec);
    resolve(spec as Spec, { id: "web", bundle: "/b", overlay: true }, HOST);
    expect(spec).toEqual(before);
  });

  test("paths become absolute, from the bundle", () => {
    const container = resolved((spec) => {
      spec.root.path = "../image/rootfs";
      spec.mounts = [
        { destination: "data", type: "bind", source: "data", options: ["rbind"] },
        { destination: "/t", type: "tmpfs", source: "tmpfs" },
        { destination: "/o", type: "bind", source: "../x" },
      ];
    });
    expect(container.rootfs.path).toBe("/image/rootfs");
    expect(container.spec.mounts).toEqual([
      { destination: "/data", type: "bind", source: "/b/data", options: ["rbind"] },
      { destination: "/t", type: "tmpfs", source: "tmpfs" },
      { destination: "/o", type: "bind", source: "/x", options: ["bind"] },
    ]);
    expect(container.warnings).toHaveLength(2);
  });

  test("what the process leaves out is filled in", () => {
    const { process } = resolved((spec) => (spec.process = { cwd: "/", args: ["a"] })).spec;
    expect(process).toEqual({ cwd: "/", args: ["a"], env: [], user: { uid: 0, gid: 0 } });
    expect(resolved((spec) => (spec.process.user = { gid: 5, umask: 1 })).spec.process.user).toEqual({
      uid: 0,
      gid: 5,
      umask: 1,
    });
  });

  test("joined namespaces keep their order and do not become new ones", () => {
    const { namespaces, userns } = resolved((spec) => {
      spec.linux.namespaces = [
        { type: "mount" },
        { type: "user", path: "/proc/9/ns/user" },
        { type: "network", path: "/run/netns/a" },
        { type: "uts", path: "" },
      ];
    });
    expect(namespaces).toEqual({
      create: 0x20000 | 0x4000000,
      join: [
        { type: "user", path: "/proc/9/ns/user", flag: 0x10000000 },
        { type: "network", path: "/run/netns/a", flag: 0x40000000 },
      ],
    });
    expect(userns).toBe(true);
  });

  test("unknown capabilities, and those this kernel lacks, are left out with a warning", () => {
    const container = resolved(
      (spec) => (spec.process.capabilities.bounding = ["CAP_KILL", "CAP_FLY", "CAP_BPF"]),
      {},
      { lastCap: 37 },
    );
    expect(container.spec.process.capabilities?.bounding).toEqual(["CAP_KILL"]);
    expect(container.warnings.map(({ message }) => message)).toEqual([
      'unknown capability "CAP_FLY"; it is left out',
      "this kernel has no CAP_BPF; it is left out",
    ]);
  });

  test("layers of the annotation, and of the options, which win", () => {
    const chain = `sha256:${"a".repeat(64)}`;
    const annotate: Change = (spec) => {
      spec.annotations = { "org.tsrun.layers": JSON.stringify(["base", "/abs", chain]), "org.tsrun.rw-layer": "data" };
      delete spec.root;
    };
    expect(resolved(annotate).rootfs).toEqual({
      path: "/b/rootfs",
      layers: ["/b/base", "/abs", chain],
      rwLayer: "data",
      overlayOptions: [],
      readonly: false,
    });
    expect(resolved(annotate, { layers: ["/x"], rwLayer: "other" }).rootfs).toMatchObject({
      layers: ["/x"],
      rwLayer: "other",
    });
  });

  test("a size limit has a unit of 1024, and wants layers and overlayfs", () => {
    const annotate: Change = (spec) => {
      spec.annotations = { "org.tsrun.layers": '["/base"]', "org.tsrun.storage-size": "512m" };
    };
    expect(resolved(annotate).rootfs.sizeBytes).toBe(512 << 20);
    expect(resolved(annotate, { storageSize: "1.5GiB" }).rootfs.sizeBytes).toBe(1.5 * 2 ** 30);
    expect(resolved(annotate, { storageSize: 4096 }).rootfs.sizeBytes).toBe(4096);
    for (const storageSize of ["", "0", "-1", "many", "9999999p", 0, -5])
      expect(() => resolved(annotate, { storageSize }), String(storageSize)).toThrow("is no size");
    expect(() => resolved(annotate, { driver: "vfs" })).toThrow("driver vfs cannot keep to one");
    expect(() => resolved(() => {}, { storageSize: "1g" })).toThrow("only with layers");
    const wrong: Change = (spec) => (spec.annotations = { "org.tsrun.storage-size": "much" });
    expect(() => resolved(wrong)).toThrow('"much" is no size');
  });

  test("--overlay makes root.path the only layer", () => {
    expect(resolved(() => {}, { overlay: true }).rootfs).toMatchObject({ path: "/b/rootfs", layers: ["/b/rootfs"] });
    const annotate: Change = (spec) => (spec.annotations = { "org.tsrun.overlay": "true" });
    expect(resolved(annotate).rootfs.layers).toEqual(["/b/rootfs"]);
    expect(resolved(annotate, { overlay: false }).rootfs.layers).toBeUndefined();
  });

  test("bad layers are refused", () => {
    expect(problems(() => {}, { layers: [] })).toHaveLength(1);
    expect(problems(() => {}, { layers: ["", "sha256:x", "a\0"] })).toHaveLength(3);
    expect(problems(() => {}, { rwLayer: "a" })).toHaveLength(1);
    expect(problems(() => {}, { rwLayer: "../a", overlay: true })).toHaveLength(1);
    expect(problems((spec) => delete spec.root, { overlay: true })).toHaveLength(1);
    expect(problems((spec) => (spec.root.path = null), { overlay: true })).toHaveLength(1);
  });

  test("problems of the config, of this release and of the host come together", () => {
    expect(
      problems(
        (spec) => {
          spec.process.cwd = "x";
          spec.linux.intelRdt = { closID: "x" };
          spec.linux.resources.unified = { "memory.high": "1" };
        },
        {},
        { cgroup: "v1" },
      ),
    ).toEqual([
      'process.cwd: must be an absolute path, not "x"',
      "linux.resources.unified: invalid configuration: needs cgroup v2, and this host has v1",
    ]);
  });

  test("an ordinary user needs a user namespace", () => {
    expect(problems(() => {}, {}, { euid: 1000, privileged: false })).toHaveLength(1);
    const user: Change = (spec) => {
      spec.linux.namespaces.push({ type: "user" });
      spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.mounts = spec.mounts.filter((mount: { type: string }) => mount.type !== "devpts");
    };
    expect(problems(user, {}, { euid: 1000, egid: 1000, privileged: false })).toEqual([]);
    expect(resolved(user).uidMappings).toEqual([{ containerID: 0, hostID: 1000, size: 1 }]);
  });

  test("network devices of the machine are moved by its root alone", () => {
    const devices: Change = (spec) => {
      spec.linux.netDevices = { eth1: {} };
    };
    expect(problems(devices)).toEqual([]);
    expect(problems(devices, {}, { privileged: false })).toEqual([
      "linux.netDevices: need CAP_NET_ADMIN over the machine, or its network devices cannot be moved",
    ]);
  });

  test("what an old kernel lacks", () => {
    const time: Change = (spec) => spec.linux.namespaces.push({ type: "time" });
    expect(problems(time, {}, { kernel: [5, 5] })).toHaveLength(1);
    expect(problems(time, {}, { kernel: [5, 6] })).toEqual([]);
  });

  test("a hard limit is raised only by who may", () => {
    const hardLimits = { RLIMIT_NOFILE: 1000n };
    expect(problems(() => {}, {}, { hardLimits })).toEqual([]);
    for (const host of [{ capabilities: 0n }, { userns: true }]) {
      expect(problems(() => {}, {}, { hardLimits, ...host })).toEqual([
        "process.rlimits[0].hard: 1024 is more than this process has (1000) and may give without CAP_SYS_RESOURCE",
      ]);
      expect(problems(() => {}, {}, { hardLimits: { RLIMIT_NOFILE: 1024n }, ...host })).toEqual([]);
    }
  });

  test("private propagation is not safe without pivot_root", () => {
    const change: Change = (spec) => (spec.linux.rootfsPropagation = "rprivate");
    expect(problems(change, { noPivot: true })).toHaveLength(1);
    expect(problems(change)).toEqual([]);
  });

  test("values that only say 'not set' are gone", () => {
    const { linux } = resolved((spec) => {
      spec.linux.seccomp = {};
      spec.linux.resources.memory = { swappiness: 2 ** 64, limit: 5 };
    }).spec;
    expect(linux?.seccomp).toBeUndefined();
    expect(linux?.resources?.memory).toEqual({ limit: 5 });
  });

  test("the id is checked first", () => {
    expect(() => resolved(() => {}, { id: "../x" })).toThrow(/invalid container ID format/);
  });
});

describe("spec/resolve, networks of ordinary users", () => {
  const USER = { euid: 1000, egid: 1000, privileged: false };
  const rootless: Change = (spec) => {
    spec.linux.namespaces = [{ type: "user" }, { type: "mount" }, { type: "pid" }, { type: "ipc" }];
    spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
    spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
    spec.hostname = "";
    // A terminal's group, which this user does not have.
    spec.mounts = spec.mounts.filter((mount: { type: string }) => mount.type !== "devpts");
  };

  test("an option wins over the annotation, and both bring a network namespace", () => {
    const annotated: Change = (spec) => {
      rootless(spec);
      spec.annotations = { "org.tsrun.network": "pasta" };
    };
    const made = resolved(annotated, { network: "slirp4netns" }, USER);
    expect(made.network).toBe("slirp4netns");
    expect(made.namespaces.create & 0x40000000).toBe(0x40000000);
    expect(resolved(annotated, {}, USER).network).toBe("pasta");
    expect(resolved(rootless, {}, USER)).not.toHaveProperty("network");
  });

  test("a program that is none is named once", () => {
    expect(problems(rootless, { network: "bridge" }, USER)).toEqual([
      '--network: "bridge" is no network: pasta, slirp4netns',
    ]);
    const annotated: Change = (spec) => {
      rootless(spec);
      spec.annotations = { "org.tsrun.network": "bridge" };
    };
    expect(problems(annotated, {}, USER)).toHaveLength(1);
  });
});
