import { describe, expect, test } from "vitest";
import { readyLine } from "../../../src/io/notify.ts";

describe("io/notify", () => {
  test("the line that says whether the sender is ready, wherever it stands", () => {
    expect(readyLine("READY=1")).toBe("READY=1");
    expect(readyLine("STATUS=up\nREADY=1\nMAINPID=7\n")).toBe("READY=1");
    expect(readyLine("READY=0\n")).toBe("READY=0");
  });

  test("what only looks like it is none", () => {
    for (const message of ["", "\n", "READY=", "STATUS=READY=1", "NOTREADY=1", "READY"]) {
      expect(readyLine(message)).toBeUndefined();
    }
  });
});
