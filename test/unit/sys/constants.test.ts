import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { RLIMITS } from "../../../src/linux.ts";
import * as k from "../../../src/sys/constants.ts";

describe("sys/constants", () => {
  test("signals are those of this machine", () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      expect([name, k.signalNumber(name)]).toEqual([name, number]);
    }
  });

  test("a signal is known by number, by name with and without SIG, in any case", () => {
    for (const text of ["15", "TERM", "SIGTERM", "sigterm", "Term"]) expect(k.signalNumber(text)).toBe(15);
    expect(k.signalNumber("SIGCLD")).toBe(17);
    expect(k.signalNumber("poll")).toBe(29);
    expect(k.signalNumber("iot")).toBe(6);
  });

  test("real-time signals are counted from both ends", () => {
    expect(k.signalNumber("RTMIN")).toBe(34);
    expect(k.signalNumber("SIGRTMIN+3")).toBe(37);
    expect(k.signalNumber("rtmax-14")).toBe(50);
    expect(k.signalNumber("SIGRTMAX")).toBe(64);
    expect(k.signalNumber("64")).toBe(64);
    for (const text of ["RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMAX-31", "RTMIN+", "RTMIN+100", "RTMID"]) {
      expect(k.signalNumber(text)).toBeUndefined();
    }
  });

  test("what is no signal is none", () => {
    for (const text of [
      "",
      "0",
      "65",
      "-9",
      "9.0",
      "0x9",
      " 9",
      "1e1",
      "SIG",
      "SIGSIGTERM",
      "toString",
      "constructor",
    ]) {
      expect([text, k.signalNumber(text)]).toEqual([text, undefined]);
    }
  });

  test("signals have names", () => {
    expect(k.signalName(9)).toBe("SIGKILL");
    expect(k.signalName(35)).toBe("SIG35");
  });

  test("capabilities count from 0 to 40 without a gap", () => {
    expect(Object.values(k.CAPABILITIES)).toEqual(Array.from({ length: 41 }, (_, bit) => bit));
  });

  test("resource limits count from 0 to 15 without a gap", () => {
    expect(Object.values(RLIMITS)).toEqual(Array.from({ length: 16 }, (_, number) => number));
  });
});
