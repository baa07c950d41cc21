import { describe, expect, test } from "vitest";
import { int64Text, uint64 } from "../../../src/spec/numbers.ts";

describe("spec/numbers", () => {
  test("RLIM_INFINITY survives the rounding of JSON.parse", () => {
    expect(uint64(JSON.parse("18446744073709551615") as number)).toBe(2n ** 64n - 1n);
  });

  test("the largest int64 survives it too", () => {
    expect(int64Text(JSON.parse("9223372036854775807") as number)).toBe("9223372036854775807");
  });

  test("digits are never in exponent form", () => {
    expect(int64Text(2 ** 63 - 4096)).toBe("9223372036854771712");
    expect(int64Text(-1)).toBe("-1");
  });
});
