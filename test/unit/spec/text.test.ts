import { describe, expect, test } from "vitest";
import { byteLength, didYouMean, distance, joinPath, nearestWord, quote } from "../../../src/spec/text.ts";

describe("spec/text", () => {
  test("a quoted value is one line without control characters", () => {
    expect(quote("a\u001b[31m\n\u009b\u202e")).toBe('"a\\u001b[31m\\n\\u009b\\u202e"');
  });

  test("a long value is shortened", () => {
    expect(quote("x".repeat(1000)).length).toBeLessThanOrEqual(80);
  });

  test("a key that is no plain name is quoted in a path", () => {
    expect(joinPath("linux.sysctl", "net.ipv4.ip_forward")).toBe('linux.sysctl["net.ipv4.ip_forward"]');
    expect(joinPath("linux", "sysctl")).toBe("linux.sysctl");
    expect(joinPath("", "linux")).toBe("linux");
  });

  test("edits are counted, a swap of neighbours as one", () => {
    expect(distance("idmpa", "idmap")).toBe(1);
    expect(distance("nosiud", "nosuid")).toBe(1);
    expect(distance("kitten", "sitting")).toBe(3);
    expect(distance("", "abc")).toBe(3);
  });

  test("bytes are counted as UTF-8 has them", () => {
    for (const text of ["", "abc", "é", "€", "😀", "a😀é€"]) expect(byteLength(text)).toBe(Buffer.byteLength(text));
  });

  test("only a near word is suggested", () => {
    expect(nearestWord("newtork", ["network", "mount"])).toBe("network");
    expect(nearestWord("NETWORK", ["network", "mount"])).toBe("network");
    expect(nearestWord("zz", ["rw", "ro"])).toBeUndefined();
    expect(didYouMean("xyzzy", ["network"])).toBe("");
  });
});
