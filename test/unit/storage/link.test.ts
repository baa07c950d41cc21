import { describe, expect, test } from "vitest";
import { escapeLower, formatLower, hex, isLinkName, linkName, parseLower } from "../../../src/storage/link.ts";

describe("storage/link", () => {
  test("a link name is 26 characters of base32", () => {
    for (let i = 0; i < 50; i++) {
      expect(linkName(crypto.getRandomValues(new Uint8Array(26)))).toMatch(/^[A-Z2-7]{26}$/);
    }
    expect(linkName(new Uint8Array(26))).toBe("AAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect(linkName(new Uint8Array(26).fill(255))).toBe("77777777777777777777777777");
  });

  test("only a link name is one: what a damaged file says never becomes a path", () => {
    expect(isLinkName("ABCDEFGHIJKLMNOPQRSTUVWXY2")).toBe(true);
    for (const bad of ["", "../../../../../../../../etc", "abcdefghijklmnopqrstuvwxyz", `${"A".repeat(26)}\n`]) {
      expect(isLinkName(bad), bad).toBe(false);
    }
  });

  test("a mount id is lower-case hex with its leading zeros", () => {
    expect(hex(Uint8Array.of(0, 1, 15, 16, 255))).toBe("00010f10ff");
  });

  test("lower names the top layer first, layers of the store by their links", () => {
    const link = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    expect(formatLower([{ link }, { path: "/srv/app" }, { path: "/srv/base" }])).toBe(`l/${link}:/srv/app:/srv/base`);
  });

  test("a colon and a backslash in a layer's path come back as they were", () => {
    const lowers = [{ path: "/a:b" }, { path: "/c\\d" }, { path: "/e\\:f" }, { path: "/" }];
    expect(formatLower(lowers)).toBe("/a\\:b:/c\\\\d:/e\\\\\\:f:/");
    expect(parseLower(formatLower(lowers))).toEqual(lowers);
    expect(escapeLower("/plain")).toBe("/plain");
  });

  test("what is no layer in a lower file is left out", () => {
    expect(parseLower("")).toEqual([]);
    expect(parseLower("l/../../etc:relative:/ok")).toEqual([{ path: "/ok" }]);
  });
});
