import { spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { processStat } from "../../../src/runtime/lifecycle.ts";
import { openRecorded } from "../../../src/runtime/recorded.ts";

describe("runtime/recorded", () => {
  test("opens the process that was recorded, and none that has its pid now", async () => {
    const child = spawn("sleep", ["100"]);
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    const startTime = processStat(pid)?.startTime ?? 0;
    {
      using held = openRecorded({ pid, startTime });
      expect(readlinkSync(`/proc/self/fd/${held?.fd}`)).toBe("anon_inode:[pidfd]");
    }
    // The number is another's: its status was looked at before, and it has ended since.
    for (const other of [startTime - 1, startTime + 1, 0]) {
      expect(openRecorded({ pid, startTime: other })).toBeUndefined();
    }
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(openRecorded({ pid, startTime })).toBeUndefined();
    // A container that has not got that far.
    expect(openRecorded({ pid: 0, startTime: 0 })).toBeUndefined();
  });
});
