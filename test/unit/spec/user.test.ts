import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { parseUser } from "../../../src/spec/user.ts";

describe("spec/user", () => {
  test("one number is the uid, and no group is made up", () => {
    expect(parseUser("1")).toEqual({ uid: 1, gid: undefined });
  });

  test("uid and gid", () => {
    expect(parseUser("1000:0")).toEqual({ uid: 1000, gid: 0 });
    expect(parseUser("4294967294:4294967294")).toEqual({ uid: 4294967294, gid: 4294967294 });
  });

  test.each([
    "",
    ":",
    "1:",
    ":1",
    "root",
    "1:root",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1\n",
    "0x1",
    "1e3",
    "1.0",
    "4294967295",
    "99999999999",
    "1:2:3",
    "1\0",
    "١",
  ])("%j is an error, never uid 0", (text) => {
    expect(() => parseUser(text)).toThrow(SpecError);
  });
});
