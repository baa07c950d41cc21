import { describe, expect, test } from "vitest";
import { makedev } from "../../../src/linux.ts";
import type { Linux } from "../../../src/spec/types.ts";
import { stepsOf } from "./helpers.ts";

describe("plan/devices", () => {
  test("the six default devices are made, each for everybody", () => {
    expect(stepsOf({}, "linux.devices")).toEqual([
      "mknod /dev/null c 1:3 mode 0666 owner 0:0",
      "mknod /dev/zero c 1:5 mode 0666 owner 0:0",
      "mknod /dev/full c 1:7 mode 0666 owner 0:0",
      "mknod /dev/random c 1:8 mode 0666 owner 0:0",
      "mknod /dev/urandom c 1:9 mode 0666 owner 0:0",
      "mknod /dev/tty c 5:0 mode 0666 owner 0:0",
    ]);
  });

  test("linux.devices come with their type, mode and owner, and win over a default of the same path", () => {
    const lines = stepsOf(
      {
        spec: ({ linux }) => {
          linux.devices = [
            { path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 0o600 },
            { path: "/dev/disk", type: "b", major: 7, minor: 300, uid: 3, gid: 4 },
            { path: "/dev/pipe", type: "p", fileMode: 0o640 },
            { path: "/dev/raw", type: "u", major: 10, minor: 229 },
          ];
        },
      },
      "linux.devices",
    );
    expect(lines).toContain("mknod /dev/null c 1:3 mode 0600 owner 0:0");
    expect(lines.filter((line) => line.includes("/dev/null"))).toHaveLength(1);
    expect(lines.slice(-3)).toEqual([
      "mknod /dev/disk b 7:300 mode 0666 owner 3:4",
      "mknod /dev/pipe p 0:0 mode 0640 owner 0:0",
      "mknod /dev/raw c 10:229 mode 0666 owner 0:0",
    ]);
  });

  test("/dev/ptmx among them is the container's own, not the host's", () => {
    for (const edit of [() => {}, userNamespace]) {
      const spec = (value: Parameters<typeof userNamespace>[0]) => {
        edit(value);
        value.linux.devices = [{ path: "/dev/ptmx", type: "c", major: 5, minor: 2 }];
      };
      expect(stepsOf({ spec }, "linux.devices /dev/ptmx")).toEqual([]);
      expect(stepsOf({ spec }, "/dev links").join()).toContain("pts/ptmx");
    }
  });

  test("a minor number above 255 is where the kernel looks for it", () => {
    expect(makedev(7, 300)).toBe(0x10072c);
    expect(makedev(0xfff, 0xfffff)).toBe(0xfff00000 + 0xfffff);
  });

  test("in a user namespace, where no device can be made, those of the host are bound", () => {
    const lines = stepsOf({ spec: userNamespace }, "linux.devices /dev/null");
    expect(lines[0]).toMatch(/^open_tree \/dev\/null as \d+$/);
    expect(lines[1]).toMatch(/^check that \d+ is c 1:3$/);
    expect(lines[2]).toMatch(/^target \/dev\/null in \d+, file as \d+$/);
    expect(lines[3]).toMatch(/^move_mount \d+ to \d+$/);
  });

  test("a pipe is no device: it is made in a user namespace, too", () => {
    const spec = (value: Parameters<typeof userNamespace>[0]) => {
      userNamespace(value);
      value.linux.devices = [{ path: "/dev/pipe", type: "p", fileMode: 0o640 }];
    };
    expect(stepsOf({ spec }, "linux.devices /dev/pipe")).toEqual(["mknod /dev/pipe p 0:0 mode 0640 owner 0:0"]);
  });

  test("root of the user namespace that tsrun is in makes none either", () => {
    expect(stepsOf({ host: { userns: true } }, "linux.devices /dev/null")[0]).toMatch(/^open_tree \/dev\/null/);
  });

  test("the links of /dev, and core only where the kernel has it", () => {
    const links = stepsOf({ host: { hasKcore: false } }, "/dev links");
    expect(links).toEqual([
      "symlink /dev/fd -> /proc/self/fd",
      "symlink /dev/stdin -> /proc/self/fd/0",
      "symlink /dev/stdout -> /proc/self/fd/1",
      "symlink /dev/stderr -> /proc/self/fd/2",
      "symlink /dev/ptmx -> pts/ptmx",
    ]);
    expect(stepsOf({ host: { hasKcore: true } }, "/dev links")).toContain("symlink /dev/core -> /proc/kcore");
  });

  test("a /dev bound from the host is left as it is", () => {
    for (const destination of ["/dev", "/dev/"]) {
      const bound = stepsOf({
        spec: ({ mounts }) => {
          mounts.push({ destination, source: "/dev", options: ["rbind"] });
        },
      });
      expect(bound.filter((line) => /mknod|symlink/.test(line))).toEqual([]);
    }
    const other = stepsOf({
      spec: ({ mounts }) => {
        mounts.push({ destination: "/devices", source: "/dev", options: ["bind"] });
      },
    });
    expect(other.filter((line) => line.startsWith("mknod"))).toHaveLength(6);
  });
});

function userNamespace({ linux }: { linux: Linux }): void {
  linux.namespaces?.push({ type: "user" });
  linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  linux.gidMappings = linux.uidMappings;
}
