import { describe, expect, test } from "vitest";
import { initId, isFileName, isNamed, layerNameProblem, namedMountId } from "../../../src/storage/layout.ts";

describe("storage/layout", () => {
  test("a named layer is known from its mount id, and a random one never looks like it", () => {
    expect(namedMountId("data")).toBe("rw-data");
    expect(isNamed("rw-data")).toBe(true);
    expect(isNamed("0f".repeat(32))).toBe(false);
    expect(initId("rw-data")).toBe("rw-data-init");
  });

  test("a layer's name must be a plain file name", () => {
    for (const good of ["data", "web_1.2+x-y", "-", "l", "a".repeat(200)]) {
      expect(layerNameProblem(good), good).toBeUndefined();
    }
    for (const bad of ["", ".", "..", "a/b", "../etc", "a b", "a\n", "a\0", "é", "a".repeat(201)]) {
      expect(layerNameProblem(bad), bad).toBeDefined();
    }
  });

  test("a layer's name cannot be that of another one's init layer", () => {
    expect(layerNameProblem("data-init")).toMatch(/-init/);
  });

  test("the message about a bad name cannot forge a line of a log", () => {
    const problem = layerNameProblem("a\nb\u001b[0m") ?? "";
    expect([...problem].filter((character) => character < " ")).toEqual([]);
  });

  test("dot, dot-dot and anything with a slash name no file", () => {
    for (const bad of [".", "..", "/", "a/b", ""]) expect(isFileName(bad), bad).toBe(false);
    expect(isFileName("..a")).toBe(true);
  });
});
