import { describe, expect, test } from "vitest";
import { integerOf, literalOf, naturalOf, sizeOf } from "../../../src/cli/sizes.ts";

describe("cli/sizes", () => {
  test("sizes have units of 1024, in the spellings that runc takes", () => {
    const sizes = ["0", "4096", "1k", "1K", "1kb", "1KiB", "512m", "2G", "1.5g", "1t", "-1"].map((text) =>
      sizeOf("memory", text),
    );
    expect(sizes).toEqual([0, 4096, 1024, 1024, 1024, 1024, 512 * 2 ** 20, 2 ** 31, 1.5 * 2 ** 30, 2 ** 40, -1]);
  });

  test("anything else is refused with the name of the flag", () => {
    for (const text of ["", "m", "-2", "1x", "1mm", "0x10", "1e3", " ", " 64m", "64m ", "+64m"]) {
      expect(() => sizeOf("memory", text), text).toThrow("--memory");
    }
    for (const text of ["", "1.5", "0x1", "1m", "99999999999999999999"]) {
      expect(() => integerOf("cpu-quota", text), text).toThrow("--cpu-quota");
    }
    expect(integerOf("cpu-quota", "-1")).toBe(-1);
    expect(() => naturalOf("cpu-share", "+512")).toThrow('"+512"');
  });

  test("a plus, leading zeros and other bases mean what they mean to runc", () => {
    expect([integerOf("cpu-quota", "+50000"), integerOf("cpu-quota", "0100"), naturalOf("cpu-share", "0512")]).toEqual([
      50000, 100, 512,
    ]);
    const literals = ["16", "+16", "020", "0x10", "0X1_0", "0b1_0000", "0o20", "0_20", "-1", "-0", "0"];
    expect(literals.map((text) => literalOf("pids-limit", text))).toEqual([16, 16, 16, 16, 16, 16, 16, 16, -1, 0, 0]);
    for (const text of ["", " 5", "5 ", "08", "1__0", "_1", "1_", "0x", "1e2", "5.0", "+-5", "9007199254740993"]) {
      expect(() => literalOf("pids-limit", text), text).toThrow("--pids-limit");
    }
  });
});
