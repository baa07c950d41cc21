import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { signalNumber } from "../../../src/cli/signals.ts";

describe("cli/signals", () => {
  test("every signal of the system is known by its name, with and without SIG, in any case", () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      expect(signalNumber(name), name).toBe(number);
      expect(signalNumber(name.slice(3)), name).toBe(number);
      expect(signalNumber(name.toLowerCase()), name).toBe(number);
    }
  });

  test("numbers stand for themselves; 0 only asks", () => {
    expect(signalNumber("9")).toBe(9);
    expect(signalNumber("64")).toBe(64);
    expect(signalNumber("0")).toBe(0);
  });

  test("real-time signals count from both ends", () => {
    expect(signalNumber("RTMIN")).toBe(34);
    expect(signalNumber("SIGRTMIN+3")).toBe(37);
    expect(signalNumber("rtmax-1")).toBe(63);
    expect(signalNumber("SIGRTMAX")).toBe(64);
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
    expect(() => signalNumber(word)).toThrow(`unknown signal ${JSON.stringify(word)}`);
  });
});
