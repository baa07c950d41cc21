import { describe, expect, test } from "vitest";
import { freeName } from "../../../src/runtime/net-devices.ts";

describe("runtime/net-devices", () => {
  test("a name that is taken is refused, one with %d takes the first number that is free", () => {
    expect(freeName("eth0", ["lo"])).toBe("eth0");
    expect(() => freeName("lo", ["lo"])).toThrow("the container has a network device lo already");
    expect(freeName("eth%d", ["eth0", "eth2"])).toBe("eth1");
    expect(freeName("%dx", [])).toBe("0x");
  });

  test("names that do not fit end the search", () => {
    const taken = Array.from({ length: 10 }, (_, i) => `device-of-12-${i}x`);
    expect(() => freeName("device-of-12-%dx", taken)).toThrow("every name like device-of-12-%dx is taken");
  });
});
