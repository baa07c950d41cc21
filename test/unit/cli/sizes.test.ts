import { describe, expect, test } from "vitest";
import { integerOf, sizeOf } from "../../../src/cli/sizes.ts";

describe("cli/sizes", () => {
  test("sizes have units of 1024, in the spellings that runc takes", () => {
    const sizes = ["0", "4096", "1k", "1K", "1kb", "1KiB", "512m", "2G", "1.5g", "1t", "-1"].map((text) =>
      sizeOf("memory", text),
    );
    expect(sizes).toEqual([0, 4096, 1024, 1024, 1024, 1024, 512 * 2 ** 20, 2 ** 31, 1.5 * 2 ** 30, 2 ** 40, -1]);
  });

  test("anything else is refused with the name of the flag", () => {
    for (const text of ["", "m", "-2", "1x", "1mm", "0x10", "1e3", " "]) {
      expect(() => sizeOf("memory", text), text).toThrow("--memory");
    }
    for (const text of ["", "1.5", "0x1", "1m", "99999999999999999999"]) {
      expect(() => integerOf("cpu-quota", text), text).toThrow("--cpu-quota");
    }
    expect(integerOf("cpu-quota", "-1")).toBe(-1);
  });
});
