import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseCgroupFile } from "../../../src/cgroup/hierarchies.ts";
import type { CgroupHierarchies } from "../../../src/cgroup/manager.ts";
import { CLONE_NEWCGROUP } from "../../../src/linux.ts";
import {
  mountTargets,
  refuseSharedMounts,
  refuseWhatCriuCannot,
  restoredNamespaces,
  restoredSources,
  stdioNames,
} from "../../../src/runtime/outside.ts";
import { cgroupRoots } from "../../../src/runtime/restore.ts";
import type { Linux, Mount, Spec } from "../../../src/spec/types.ts";

const spec = (mounts: Mount[], linux: Linux = {}): Spec => ({ ociVersion: "1.0.0", mounts, linux });

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsrun-outside-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("runtime/outside", () => {
  test("what criu would lose is refused by name", () => {
    const refused =
      (linux: Linux, mounts: Mount[] = []) =>
      () =>
        refuseWhatCriuCannot(spec(mounts, linux));
    expect(refused({ namespaces: [{ type: "user", path: "/proc/1/ns/user" }] })).toThrow("joins a user namespace");
    expect(refused({ seccomp: { defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/l" } })).toThrow("seccomp listener");
    expect(refused({ netDevices: { eth1: {} } })).toThrow("linux.netDevices");
    const ids = [{ containerID: 0, hostID: 1, size: 1 }];
    const mapped = { uidMappings: ids, gidMappings: ids };
    expect(refused({}, [{ destination: "/t", type: "tmpfs", ...mapped }])).toThrow("mounts[0] /t");
    expect(refused({}, [{ destination: "/t", source: "/", options: ["bind"], ...mapped }])).not.toThrow();
    expect(refused({ namespaces: [{ type: "user" }, { type: "network", path: "/n" }] })).not.toThrow();
  });

  test("a container whose mounts are the host's is refused", () => {
    expect(() => refuseSharedMounts(spec([], { namespaces: [{ type: "pid" }] }))).toThrow("without a mount namespace");
    expect(() => refuseSharedMounts(spec([], { namespaces: [{ type: "mount" }] }))).not.toThrow();
  });

  test("places to mount on are made in the root and in what is bound, and not in other mounts: those come with their own", () => {
    const file = join(directory, "file");
    writeFileSync(file, "");
    const mounts = [
      { destination: "/dev", type: "tmpfs" },
      { destination: "/dev/pts/", type: "devpts" },
      { destination: "/data/", source: directory, options: ["rbind"] },
      { destination: "/data/a/b", source: directory, options: ["bind", "ro"] },
      { destination: "/data/a/b/c", type: "tmpfs" },
      { destination: "etc/file", source: file, options: ["bind"] },
    ];
    expect(mountTargets(spec(mounts))).toEqual([
      { path: "/dev", kind: "directory" },
      { path: "/data", kind: "directory" },
      { path: "/a/b", kind: "directory", source: directory },
      { path: "/etc/file", kind: "file" },
    ]);
  });

  test("namespaces are joined by descriptor or by path, as criu has it", () => {
    const namespaces = [
      { type: "network", path: "/n" },
      { type: "pid" },
      { type: "ipc", path: "/i" },
      { type: "mount" },
    ] as const;
    expect(restoredNamespaces(spec([], { namespaces: [...namespaces] }))).toEqual({
      byDescriptor: [{ type: "network", key: "extRootNetNS" }],
      byPath: [{ type: "ipc", file: "/i" }],
    });
  });

  test("a mount stands for its source, one whose ids are mapped for the tree that was made of it", () => {
    const ids = [{ containerID: 0, hostID: 1, size: 1 }];
    const mounts = [
      { destination: "/a", source: "/srv/a", options: ["bind"] },
      { destination: "/b", source: "/srv/b", options: ["bind"], uidMappings: ids, gidMappings: ids },
      { destination: "/t", type: "tmpfs" },
    ];
    const none: CgroupHierarchies = { layout: "none", v1: [], unified: undefined };
    const sources = restoredSources(spec(mounts), 0, undefined, none, "/run/c");
    expect(sources.get("/a")).toBe("/srv/a");
    expect(sources.get("/b")).toBe("/run/c/tree-1");
    expect(sources.has("/t")).toBe(false);
    expect(sources.get("/dev/null")).toBe("/dev/null");
  });

  test("without a cgroup namespace of its own, a mount of type cgroup is the container's cgroup", () => {
    const unified = { controllers: [], mount: "/sys/fs/cgroup", root: "/", own: "/sys/fs/cgroup" };
    const v2: CgroupHierarchies = { layout: "v2", v1: [], unified };
    const record = { layout: "v2" as const, paths: { "": "/sys/fs/cgroup/c" }, made: [] };
    const mounts = [{ destination: "/sys/fs/cgroup", type: "cgroup" }];
    expect(restoredSources(spec(mounts), 0, record, v2, "/p").get("/sys/fs/cgroup")).toBe("/sys/fs/cgroup/c");
    expect(restoredSources(spec(mounts), CLONE_NEWCGROUP, record, v2, "/p").has("/sys/fs/cgroup")).toBe(false);
  });

  test("criu is told where it is, for each controller of v1 and once for v2", () => {
    expect(cgroupRoots(parseCgroupFile("3:cpu,cpuacct:/a/c\n2:name=systemd:/b\n0::/c\n"))).toEqual([
      { controller: "cpu", path: "/a/c" },
      { controller: "cpuacct", path: "/a/c" },
      { controller: "name=systemd", path: "/b" },
      { path: "/c" },
    ]);
  });

  test("standard streams that are our own files keep their paths, pipes their names", () => {
    for (const name of stdioNames(process.pid)) expect(name).toMatch(/^(pipe|socket):\[\d+\]$|^\/|^anon_inode:/);
  });
});
