import { describe, expect, test } from "vitest";
import { baseOf, cgroupPath, pathNames } from "../../../src/cgroup/path.ts";

const memory = { controllers: ["memory"], mount: "/sys/fs/cgroup/memory", root: "/", own: "/sys/fs/cgroup/memory/me" };
const unified = { controllers: [], mount: "/sys/fs/cgroup", root: "/", own: "/sys/fs/cgroup/user.slice/me.scope" };
const at = (text: string | undefined, hierarchy = memory, layout: "hybrid" | "v2" = "hybrid") => {
  const path = cgroupPath(text, "box");
  return [baseOf(hierarchy, path, layout), ...path.names].join("/");
};

describe("cgroup/path", () => {
  test("an absolute path is below the mount", () => {
    expect(at("/a/b")).toBe("/sys/fs/cgroup/memory/a/b");
    expect(at("/a/b", unified, "v2")).toBe("/sys/fs/cgroup/a/b");
  });

  test("a relative path is below our own cgroup, on v2 beside it", () => {
    expect(at("a/b")).toBe("/sys/fs/cgroup/memory/me/a/b");
    expect(at("a/b", unified, "v2")).toBe("/sys/fs/cgroup/user.slice/a/b");
  });

  test("without a path the id is a relative one", () => {
    expect(at(undefined)).toBe("/sys/fs/cgroup/memory/me/box");
    expect(at("")).toBe("/sys/fs/cgroup/memory/me/box");
    expect(at(undefined, unified, "v2")).toBe("/sys/fs/cgroup/user.slice/box");
  });

  test("the top of the mount has nothing above it", () => {
    expect(at("a", { ...unified, own: "/sys/fs/cgroup" }, "v2")).toBe("/sys/fs/cgroup/a");
  });

  test("slashes and dots too many are nothing", () => {
    expect(at("//a/./b//")).toBe("/sys/fs/cgroup/memory/a/b");
  });

  test("beside v1 a relative path of the unified hierarchy is below its mount, as runc has it", () => {
    const beside = { ...unified, mount: "/sys/fs/cgroup/unified", own: "/sys/fs/cgroup/unified/me" };
    expect(at("a", beside)).toBe("/sys/fs/cgroup/unified/a");
    expect(at(undefined, beside)).toBe("/sys/fs/cgroup/unified/box");
  });

  test("a path that names no cgroup is refused: all of the machine's processes are in that one", () => {
    for (const path of ["/", ".", "//", "/./"])
      expect(() => at(path), path).toThrow("names no cgroup for the container");
  });

  test("a path that goes up is refused, wherever it would end", () => {
    for (const path of ["..", "/..", "a/..", "/a/../../b", "../x"]) {
      expect(() => pathNames(path), path).toThrow("linux.cgroupsPath");
    }
    expect(pathNames("/a../..b/...")).toEqual(["a..", "..b", "..."]);
  });

  test("names that the kernel has no place for are refused", () => {
    expect(() => pathNames("a\0b")).toThrow("linux.cgroupsPath");
    expect(() => pathNames("a\nb")).toThrow("linux.cgroupsPath");
    expect(() => pathNames("x".repeat(256))).toThrow("linux.cgroupsPath");
  });
});
