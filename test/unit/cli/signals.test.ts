import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { parseSignal } from "../../../src/cli/signals.ts";

describe("cli/signals", () => {
  test("every signal of the system is known by its name, with and without SIG, in any case", () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      expect(parseSignal(name), name).toBe(number);
      expect(parseSignal(name.slice(3)), name).toBe(number);
      expect(parseSignal(name.toLowerCase()), name).toBe(number);
    }
  });

  test("numbers stand for themselves; 0 only asks", () => {
    expect(parseSignal("9")).toBe(9);
    expect(parseSignal("64")).toBe(64);
    expect(parseSignal("0")).toBe(0);
  });

  test("real-time signals count from both ends", () => {
    expect(parseSignal("RTMIN")).toBe(34);
    expect(parseSignal("SIGRTMIN+3")).toBe(37);
    expect(parseSignal("rtmax-1")).toBe(63);
    expect(parseSignal("SIGRTMAX")).toBe(64);
  });

  test.each([
    "FOO",
    "",
    "65",
    "-9",
    "9x",
    "1.5",
    "RTMIN-1",
    "RTMAX+1",
    "RTMIN+99",
    "SIG",
    "SIGSIGTERM",
    "toString",
    "0x9",
    " 9",
  ])("%j is refused by name", (word) => {
    expect(() => parseSignal(word)).toThrow(`unknown signal ${JSON.stringify(word)}`);
  });
});
