import { afterEach, expect, test, vi } from "vitest";
import { waitUntil } from "../../../src/sys/wait.ts";

afterEach(() => vi.restoreAllMocks());

test("a wait ends as soon as it is done, and when its time is over", () => {
  let asked = 0;
  expect(waitUntil(() => ++asked === 3, 60_000)).toBe(true);
  expect(waitUntil(() => false, 5)).toBe(false);
});

test("a clock that is set back makes no wait longer", () => {
  let now = 1e12;
  vi.spyOn(Date, "now").mockImplementation(() => {
    now -= 1000;
    return now;
  });
  let asked = 0;
  expect(waitUntil(() => ++asked > 1000, 5)).toBe(false);
});
