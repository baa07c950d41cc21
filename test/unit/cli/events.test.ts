import { describe, expect, test } from "vitest";
import { NO_LIMIT } from "../../../src/cgroup/figures.ts";
import { eventLine } from "../../../src/cli/verbs/events.ts";

const line = (limit: number) => eventLine({ type: "stats", id: "web", data: { limit } as never });

describe("a line of events", () => {
  test("no limit is a number that a reader with 64 bits can hold", () => {
    expect(line(NO_LIMIT)).toBe('{"type":"stats","id":"web","data":{"limit":18446744073709551615}}\n');
  });

  test("the limit of a v1 cgroup without one is written as the kernel has it", () => {
    expect(line(Number("9223372036854771712"))).toContain('"limit":9223372036854771712}');
  });

  test("digits in an id stay as they are", () => {
    const id = "18446744073709552000";
    expect(eventLine({ type: "oom", id })).toBe(`{"type":"oom","id":"${id}"}\n`);
  });
});
