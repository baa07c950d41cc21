import { describe, expect, test, vi } from "vitest";
import { capture } from "../../../src/sys/capture.ts";
import { POLLIN } from "../../../src/sys/constants.ts";
import { posixSpawn } from "../../../src/sys/spawn.ts";

/** Until then every look at the output of a program finds some. */
let busyUntil = 0;

vi.mock("../../../src/sys/process.ts", async (original) => {
  const real = await original<typeof import("../../../src/sys/process.ts")>();
  const poll: typeof real.poll = (entries, timeoutMs) => {
    const happened = real.poll(entries, timeoutMs);
    if (performance.now() < busyUntil && (entries[1]?.fd ?? -1) !== -1) happened[1] = POLLIN;
    return happened;
  };
  return { ...real, poll };
});

describe("sys/capture", () => {
  test("a program that never stops writing is killed when its time is over, as any other", () => {
    busyUntil = performance.now() + 4000;
    const { timedOut, status, milliseconds } = capture({
      start: (stdio) =>
        posixSpawn({
          path: "/bin/cat",
          argv: ["cat", "/dev/zero"],
          envp: [],
          fds: stdio.map((from, to) => ({ from, to })),
        }),
      input: "",
      timeoutMs: 200,
    });
    expect({ timedOut, signal: status.signal }).toEqual({ timedOut: true, signal: 9 });
    expect(milliseconds).toBeLessThan(3000);
  });
});
