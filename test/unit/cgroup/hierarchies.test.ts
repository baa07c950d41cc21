import { describe, expect, test } from "vitest";
import { directoryOf, parseCgroupFile, parseHierarchies, pathOf } from "../../../src/cgroup/hierarchies.ts";

const detect = (own: string, mounts: string[]) => parseHierarchies(parseCgroupFile(own), `${mounts.join("\n")}\n`);
const v1 = (mount: string, options: string, root = "/") =>
  `1 0 0:1 ${root} ${mount} rw,relatime shared:9 - cgroup x rw,${options}`;
const v2 = (mount: string, root = "/") => `1 0 0:1 ${root} ${mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate`;
const other = "29 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755";

describe("cgroup/hierarchies", () => {
  test("v2 alone", () => {
    expect(detect("0::/user.slice/a.scope\n", [v2("/sys/fs/cgroup")])).toEqual({
      layout: "v2",
      v1: [],
      unified: { controllers: [], mount: "/sys/fs/cgroup", root: "/", own: "/sys/fs/cgroup/user.slice/a.scope" },
    });
  });

  test("controllers of v1 that share a mount are one hierarchy", () => {
    const found = detect("3:cpu,cpuacct:/a\n2:name=systemd:/b\n", [
      other,
      v1("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
      v1("/sys/fs/cgroup/systemd", "xattr,name=systemd"),
    ]);
    expect(found).toMatchObject({ layout: "v1", unified: undefined });
    expect(found.v1).toEqual([
      {
        controllers: ["cpu", "cpuacct"],
        mount: "/sys/fs/cgroup/cpu,cpuacct",
        root: "/",
        own: "/sys/fs/cgroup/cpu,cpuacct/a",
      },
      { controllers: ["name=systemd"], mount: "/sys/fs/cgroup/systemd", root: "/", own: "/sys/fs/cgroup/systemd/b" },
    ]);
  });

  test("v1 with a v2 hierarchy beside it is hybrid", () => {
    const found = detect("1:memory:/\n0::/\n", [v2("/sys/fs/cgroup/unified"), v1("/sys/fs/cgroup/memory", "memory")]);
    expect(found.layout).toBe("hybrid");
    expect(found.unified?.own).toBe("/sys/fs/cgroup/unified");
  });

  test("a named v1 hierarchy beside v2 with its controllers is v2", () => {
    expect(detect("1:name=elogind:/\n0::/x\n", [v2("/sys/fs/cgroup"), v1("/mnt/elogind", "name=elogind")]).layout).toBe(
      "v2",
    );
  });

  test("a hierarchy that is not mounted is left out; none at all is the layout none", () => {
    expect(detect("5:memory:/\n4:pids:/\n", [v1("/sys/fs/cgroup/pids", "pids")]).v1.map((h) => h.controllers)).toEqual([
      ["pids"],
    ]);
    expect(detect("5:memory:/\n0::/\n", [other]).layout).toBe("none");
    expect(detect("", []).layout).toBe("none");
  });

  test("of several mounts the one below /sys/fs/cgroup is taken, wherever it stands", () => {
    const found = detect("1:pids:/\n", [v1("/var/lib/lxcfs/pids", "pids"), v1("/sys/fs/cgroup/pids", "pids")]);
    expect(found.v1[0]?.mount).toBe("/sys/fs/cgroup/pids");
    expect(detect("1:pids:/\n", [v1("/dev/pids", "pids")]).v1[0]?.mount).toBe("/dev/pids");
  });

  test("of several mounts at one place the last hides the others", () => {
    const mounts = [v1("/sys/fs/cgroup/pids", "pids"), v1("/sys/fs/cgroup/pids", "pids", "/docker/abc")];
    expect(detect("1:pids:/docker/abc/x\n", mounts).v1[0]).toMatchObject({
      root: "/docker/abc",
      own: "/sys/fs/cgroup/pids/x",
    });
  });

  test("a controller whose name is a part of another's is not taken for it", () => {
    const found = detect("1:cpu:/\n", [v1("/sys/fs/cgroup/cpuset", "cpuset"), v1("/sys/fs/cgroup/cpu", "cpu")]);
    expect(found.v1[0]?.mount).toBe("/sys/fs/cgroup/cpu");
  });

  test("spaces in a mount point and colons in a path survive", () => {
    const found = detect("1:pids:/a:b/c\n", [v1("/sys/fs/cgroup/my\\040pids", "pids")]);
    expect(found.v1[0]).toMatchObject({ mount: "/sys/fs/cgroup/my pids", own: "/sys/fs/cgroup/my pids/a:b/c" });
  });

  test("inside a container the host's path is found below the part that is mounted", () => {
    const mounted = { mount: "/sys/fs/cgroup/pids", root: "/docker/abc" };
    expect(directoryOf(mounted, "/docker/abc")).toBe("/sys/fs/cgroup/pids");
    expect(directoryOf(mounted, "/docker/abc/sub")).toBe("/sys/fs/cgroup/pids/sub");
    expect(directoryOf(mounted, "/docker/abcd")).toBe("/sys/fs/cgroup/pids");
    expect(directoryOf(mounted, "/elsewhere")).toBe("/sys/fs/cgroup/pids");
  });

  test("what lies outside of our cgroup namespace has no directory of its own", () => {
    expect(directoryOf({ mount: "/m", root: "/" }, "/../../x")).toBe("/m");
    expect(directoryOf({ mount: "/m", root: "/.." }, "/")).toBe("/m");
    expect(directoryOf({ mount: "/m", root: "/" }, "/")).toBe("/m");
  });

  test("a directory has the path that leads back to it", () => {
    for (const root of ["/", "/docker/abc"]) {
      const mounted = { mount: "/sys/fs/cgroup/pids", root };
      for (const below of ["", "/a", "/a/b"]) {
        const dir = mounted.mount + below;
        expect(directoryOf(mounted, pathOf(mounted, dir))).toBe(dir);
      }
    }
    expect(pathOf({ mount: "/m", root: "/" }, "/m/a")).toBe("/a");
    expect(pathOf({ mount: "/m", root: "/x" }, "/m/a")).toBe("/x/a");
    expect(pathOf({ mount: "/m", root: "/.." }, "/m/a")).toBe("/a");
  });
});
