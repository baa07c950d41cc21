import { expect, test } from "vitest";
import { millisecondsOf } from "../../../src/cli/durations.ts";

test("durations are those of Go, and more than nothing", () => {
  const parsed = ["5s", "100ms", "1m30s", "1.5s", "2h", "500us", ".5s", "1.s", "+1m.5s", "2\u00b5s", "2\u03bcs"].map(
    (text) => millisecondsOf("interval", text),
  );
  expect(parsed).toEqual([5000, 100, 90_000, 1500, 7_200_000, 0.5, 500, 1000, 60_500, 0.002, 0.002]);
  for (const text of ["", "5", "s", "-1s", "0s", "5s ", "1d", ".s", "+", "++1s", "1s+1s"]) {
    expect(() => millisecondsOf("interval", text), text).toThrow("--interval");
  }
});
