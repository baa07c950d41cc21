import { describe, expect, test } from "vitest";
import { listenFdsOf } from "../../../src/runtime/prepare.ts";

describe("runtime/prepare", () => {
  test("LISTEN_FDS counts only for the process that LISTEN_PID names", () => {
    expect(listenFdsOf({ LISTEN_FDS: "2", LISTEN_PID: "7" }, 7)).toBe(2);
    expect(listenFdsOf({ LISTEN_FDS: "2", LISTEN_PID: "8" }, 7)).toBe(0);
    expect(listenFdsOf({ LISTEN_FDS: "2" }, 7)).toBe(0);
    expect(listenFdsOf({}, 7)).toBe(0);
  });

  test("a LISTEN_FDS that is no number counts as none", () => {
    for (const text of ["", "-1", "two", "1e3", " 1"])
      expect(listenFdsOf({ LISTEN_FDS: text, LISTEN_PID: "7" }, 7)).toBe(0);
  });
});
