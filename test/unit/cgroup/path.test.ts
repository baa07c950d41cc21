import { describe, expect, test } from "vitest";
import { cgroupPlace, pathNames, placeDirectory } from "../../../src/cgroup/path.ts";

const memory = { controllers: ["memory"], mount: "/sys/fs/cgroup/memory", root: "/", own: "/sys/fs/cgroup/memory/me" };
const unified = { controllers: [], mount: "/sys/fs/cgroup", root: "/", own: "/sys/fs/cgroup/user.slice/me.scope" };
const at = (path: string | undefined, hierarchy = memory, aboveOwn = false) =>
  placeDirectory(cgroupPlace(hierarchy, path, "box", aboveOwn));

describe("cgroup/path", () => {
  test("an absolute path is below the mount", () => {
    expect(at("/a/b")).toBe("/sys/fs/cgroup/memory/a/b");
    expect(at("/a/b", unified, true)).toBe("/sys/fs/cgroup/a/b");
  });

  test("a relative path is below our own cgroup, on v2 beside it", () => {
    expect(at("a/b")).toBe("/sys/fs/cgroup/memory/me/a/b");
    expect(at("a/b", unified, true)).toBe("/sys/fs/cgroup/user.slice/a/b");
  });

  test("without a path the id is a relative one", () => {
    expect(at(undefined)).toBe("/sys/fs/cgroup/memory/me/box");
    expect(at("")).toBe("/sys/fs/cgroup/memory/me/box");
    expect(at(undefined, unified, true)).toBe("/sys/fs/cgroup/user.slice/box");
  });

  test("the top of the mount has nothing above it", () => {
    expect(at("a", { ...unified, own: "/sys/fs/cgroup" }, true)).toBe("/sys/fs/cgroup/a");
  });

  test("slashes and dots too many are nothing", () => {
    expect(at("//a/./b//")).toBe("/sys/fs/cgroup/memory/a/b");
    expect(at("/")).toBe("/sys/fs/cgroup/memory");
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
