import { describe, expect, test } from "vitest";
import { parseStat, processTable } from "../../../src/cli/proc-table.ts";

describe("cli/proc-table", () => {
  test("this process is in the table, one that has ended is not", () => {
    const [header, row, ...rest] = processTable([process.pid, 2 ** 22 + 1])
      .trimEnd()
      .split("\n");
    expect(header?.trim().split(/\s+/)).toEqual(["UID", "PID", "PPID", "STAT", "TIME", "CMD"]);
    expect(row?.trim().split(/\s+/).slice(0, 3)).toEqual([
      String(process.geteuid?.()),
      String(process.pid),
      String(process.ppid),
    ]);
    expect(rest).toEqual([]);
  });

  test("a name with blanks and parentheses does not shift the fields", () => {
    const fields = "S 1 2 3 0 -1 4194560 1 2 3 4 150 50 0 0 20";
    expect(parseStat(`77 (a) (b c) ${fields}`)).toEqual({ name: "a) (b c", state: "S", ppid: "1", ticks: 200 });
  });
});
