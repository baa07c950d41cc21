import { describe, expect, test } from "vitest";
import type { Mount } from "../../../src/spec/types.ts";
import { type Case, containerOf, stepsOf } from "./helpers.ts";

/** The steps of one mount, with descriptors told apart by letters in the order of their appearance. */
function stepsFor(mount: Mount, more: Case = {}): string[] {
  const lines = stepsOf({ ...more, spec: (spec) => void spec.mounts.push(mount) }, "mounts[0]");
  const names = new Map<string, string>();
  return lines.map((line) =>
    line.replace(/(?<=^|\s)\d+(?=$|\s|,)/g, (fd) => {
      if (!names.has(fd)) names.set(fd, String.fromCharCode(65 + names.size));
      return names.get(fd) ?? fd;
    }),
  );
}

describe("plan/mounts", () => {
  test("a file system is made detached and attached to its target by descriptor", () => {
    expect(
      stepsFor({ destination: "/t", type: "tmpfs", source: "named", options: ["nosuid", "size=1m", "mode=755"] }),
    ).toEqual([
      "target /t in A, directory as B",
      "fsmount tmpfs [source=named size=1m mode=755] nosuid as C",
      "move_mount C to B",
      "close B",
      "close C",
    ]);
  });

  test("a tmpfs without a mode takes that of what it covers", () => {
    expect(stepsFor({ destination: "/t", type: "tmpfs" })[1]).toBe("fsmount tmpfs [source=tmpfs] - as C, mode of B");
  });

  test("a bind clones its source first: its target is made like that", () => {
    expect(stepsFor({ destination: "/data", source: "/src", options: ["bind", "ro"] })).toEqual([
      "open_tree /src as A",
      "mount_setattr A set rdonly",
      "target /data in B, like its source as C",
      "move_mount A to C",
      "close C",
      "close A",
    ]);
  });

  test("rbind takes the mounts below, and r-options reach them", () => {
    const lines = stepsFor({ destination: "/data", source: "/src", options: ["rbind", "rro", "rnosuid"] });
    expect(lines[0]).toBe("open_tree /src recursive as A");
    expect(lines[1]).toBe("mount_setattr A recursive set rdonly,nosuid");
  });

  test("the kernel's own file systems are looked at again where they were put", () => {
    for (const [type, magic] of [
      ["proc", "0x9fa0"],
      ["sysfs", "0x62656572"],
      ["mqueue", "0x19800202"],
    ] as const) {
      const lines = stepsFor({ destination: "/at", type });
      expect(lines.slice(-2), type).toEqual([`check that C has magic ${magic} and is /at in A`, "close C"]);
    }
    for (const type of ["tmpfs", "toString"]) {
      expect(stepsFor({ destination: "/at", type }).join()).not.toContain("check that");
    }
  });

  test("a source that the container's root cannot reach comes from the runtime", () => {
    const mount = { destination: "/data", source: "/root/x", options: ["rbind", "ro"] };
    expect(stepsFor(mount, { parameters: { farSources: [0] } }).slice(0, 5)).toEqual([
      "wait for the runtime (source of a mount) as A",
      "open_tree A recursive as B",
      "close A",
      "mount_setattr B set rdonly",
      "target /data in C, like its source as D",
    ]);
    expect(stepsFor(mount, { parameters: { farSources: [1] } })[0]).toBe("open_tree /root/x recursive as A");
  });

  test("links are kept where the options say so", () => {
    const lines = stepsFor({
      destination: "/data",
      source: "/src",
      options: ["bind", "src-nofollow", "dest-nofollow"],
    });
    expect(lines.slice(0, 2)).toEqual([
      "open_tree /src nofollow as A",
      "target /data in B, like its source, nofollow as C",
    ]);
  });

  test("a link to be copied is all there is to its mount", () => {
    const mount = { destination: "/data", source: "/src", options: ["bind", "copy-symlink"] };
    expect(stepsFor(mount, { parameters: { sourceLinks: new Map([[0, "there"]]) } })).toEqual([
      "symlink /data -> there, no other",
    ]);
    expect(stepsFor(mount)[0]).toBe("open_tree /src as A");
  });

  test("words that undo a flag clear it, as the source may have it", () => {
    const lines = stepsFor({ destination: "/data", source: "/src", options: ["bind", "exec", "rw"] });
    expect(lines[1]).toBe("mount_setattr A clear rdonly,noexec");
  });

  test("propagation is set after the attaching, in the order given, recursive for the r-words", () => {
    const lines = stepsFor({ destination: "/data", source: "/src", options: ["rbind", "rslave", "shared"] });
    expect(lines.slice(-4)).toEqual([
      "mount_setattr A recursive slave",
      "mount_setattr A shared",
      "close C",
      "close A",
    ]);
  });

  test("a read-only file system is so as a whole, but for tmpfs", () => {
    expect(stepsFor({ destination: "/s", type: "sysfs", options: ["ro"] })[1]).toContain("[source=sysfs ro] rdonly");
    expect(stepsFor({ destination: "/t", type: "tmpfs", options: ["ro", "mode=1"] })[1]).toContain(
      "[source=tmpfs mode=1] rdonly",
    );
  });

  test("an option longer than fsconfig takes is left to mount(2), on a target that is no path", () => {
    const options = [`lowerdir=${"/l".repeat(130)}`, "upperdir=/u", "nosuid"];
    const lines = stepsFor({ destination: "/o", type: "overlay", source: "overlay", options });
    expect(lines.some((line) => line.startsWith("fsmount"))).toBe(false);
    expect(lines.some((line) => line.startsWith("mount overlay . type overlay lowerdir="))).toBe(true);
    const short = stepsFor({ destination: "/o", type: "overlay", source: "overlay", options: ["lowerdir=/l"] });
    expect(short.some((line) => line.startsWith("fsmount overlay"))).toBe(true);
  });

  test("255 bytes are counted as bytes, not as letters", () => {
    const option = `lowerdir=/${"ü".repeat(127)}`;
    expect(
      stepsFor({ destination: "/o", type: "overlay", options: [option] }).some((line) => line.startsWith("fsmount")),
    ).toBe(true);
    const longer = stepsFor({ destination: "/o", type: "overlay", options: [`${option}x`] });
    expect(longer.some((line) => line.startsWith("fsmount"))).toBe(false);
  });

  test("a remount changes what is there, and makes nothing", () => {
    expect(stepsFor({ destination: "/t", options: ["remount", "bind", "ro"] })).toEqual([
      "target /t in A as B",
      "mount_setattr B set rdonly",
      "close B",
    ]);
  });

  test("a remount with what is for the superblock goes by mount(2)", () => {
    const lines = stepsFor({ destination: "/t", type: "tmpfs", options: ["remount", "sync", "size=1m"] });
    expect(lines.map((line) => line.split(" ")[0])).toEqual(["target", "fchdir", "mount", "close"]);
    expect(lines[2]).toContain("size=1m");
  });

  test("iversion is left to mount(2), as fsopen has no such flag", () => {
    const lines = stepsFor({ destination: "/t", type: "tmpfs", options: ["iversion"] });
    expect(lines.some((line) => line.startsWith("mount "))).toBe(true);
    expect(lines.some((line) => line.startsWith("fsmount"))).toBe(false);
  });

  test("mounts come in the order of the list, each named by its place in it", () => {
    const lines = stepsOf(
      {
        spec: (spec) =>
          void spec.mounts.push({ destination: "/a", type: "tmpfs" }, { destination: "/a/b", type: "tmpfs" }),
      },
      "mounts[1]",
    );
    expect(lines[0]).toMatch(/^target \/a\/b in/);
  });

  test("a missing working directory is made once everything is mounted", () => {
    const lines = stepsOf({ spec: ({ process }) => void Object.assign(process, { cwd: "/work" }) }, "process.cwd");
    expect(lines[0]).toMatch(/^target \/work in \d+, directory/);
  });

  describe("cgroup mounts", () => {
    const mount = { destination: "/sys/fs/cgroup", type: "cgroup", options: ["ro", "nosuid"] };
    const v2 = [{ name: "", options: [], path: "/sys/fs/cgroup/web" }];
    const v1 = [
      { name: "cpu,cpuacct", options: ["cpu", "cpuacct"], path: "/sys/fs/cgroup/cpu,cpuacct/web" },
      { name: "systemd", options: ["none", "name=systemd"], path: "/sys/fs/cgroup/systemd/web" },
    ];

    test("v2 without a cgroup namespace shows the container's own directory", () => {
      const lines = stepsFor(mount, { host: { cgroup: "v2" }, parameters: { cgroupViews: v2 } });
      expect(lines).toContain("open_tree /sys/fs/cgroup/web as C");
    });

    test("v2 in a cgroup namespace is mounted anew", () => {
      const lines = stepsOf(
        {
          host: { cgroup: "v2" },
          parameters: { cgroupViews: v2 },
          spec: (spec) => {
            spec.linux.namespaces?.push({ type: "cgroup" });
            spec.mounts.push(mount);
          },
        },
        "mounts[0]",
      );
      expect(lines.some((line) => line.startsWith("fsmount cgroup2"))).toBe(true);
    });

    test("v1 is a tmpfs with a directory for each hierarchy and links for joint names, read-only at the end", () => {
      const lines = stepsFor(mount, { host: { cgroup: "v1" }, parameters: { cgroupViews: v1 } });
      expect(lines[1]).toMatch(/^fsmount tmpfs/);
      expect(lines).toContain("symlink /sys/fs/cgroup/cpu -> cpu,cpuacct");
      expect(lines).toContain("symlink /sys/fs/cgroup/cpuacct -> cpu,cpuacct");
      expect(lines.some((line) => line.startsWith("open_tree /sys/fs/cgroup/systemd/web"))).toBe(true);
      expect(lines.some((line) => /^mount_setattr \w set rdonly$/.test(line))).toBe(true);
    });
  });

  test("a plan is a function of its arguments", () => {
    expect(containerOf()).toEqual(containerOf());
    expect(stepsOf({})).toEqual(stepsOf({}));
  });
});
