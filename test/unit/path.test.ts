import * as node from "node:path";
import { describe, expect, test } from "vitest";
import { basename, dirname, isAbsolute, join, normalize, resolve } from "../../src/path.ts";

const PATHS = [
  "/",
  "//",
  "/a",
  "/a/",
  "/a/b",
  "/a//b///",
  "/a/./b/.",
  "/a/../b",
  "/../..",
  "/a/b/../../../c",
  "/.../..a",
  "a",
  "a/",
  "a/b",
  "./a",
  "../a",
  "a/..",
  ".",
  "..",
  "a//b",
  "",
  " ",
  "/ü/ ",
];

const withoutLastSlash = (path: string) => (path.length > 1 ? path.replace(/\/$/, "") : path);

describe("path", () => {
  test("resolve, basename, dirname and isAbsolute agree with node:path", () => {
    for (const path of PATHS) {
      expect(resolve(path), path).toBe(node.posix.resolve(path));
      expect(basename(path), path).toBe(node.posix.basename(path));
      expect(dirname(path), path).toBe(withoutLastSlash(node.posix.dirname(path)));
      expect(isAbsolute(path), path).toBe(node.posix.isAbsolute(path));
      for (const other of PATHS) expect(resolve(path, other)).toBe(node.posix.resolve(path, other));
    }
  });

  test("join and normalize give an absolute path as node:path does, but for a slash at its end", () => {
    for (const path of PATHS) {
      expect(join("/bundle/dir", path), path).toBe(withoutLastSlash(node.posix.join("/bundle/dir", path)));
      expect(normalize(`/${path}`), path).toBe(withoutLastSlash(node.posix.normalize(`/${path}`)));
    }
  });
});
