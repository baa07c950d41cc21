import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultDeviceFilter, deviceFilter } from "../../../src/cgroup/device-filter.ts";
import {
  ACCESS_MKNOD,
  ACCESS_READ,
  ACCESS_WRITE,
  type DeviceRule,
  deviceRules,
} from "../../../src/cgroup/device-rules.ts";
import { type DeviceAccess, runDeviceProgram } from "./ebpf.ts";

const [r, w, m] = [ACCESS_READ, ACCESS_WRITE, ACCESS_MKNOD];

/** The meaning of the rules: for each kind of access the last rule that speaks of it, else no. */
function isAllowed(rules: readonly DeviceRule[], { type, access, major, minor }: DeviceAccess): boolean {
  return [r, w, m].every((bit) => {
    if ((access & bit) === 0) return true;
    const last = rules.findLast(
      (rule) =>
        rule.type === type &&
        (rule.major === -1 || rule.major === major) &&
        (rule.minor === -1 || rule.minor === minor) &&
        (rule.access & bit) !== 0,
    );
    return last?.allow ?? false;
  });
}

const ask = (rules: readonly DeviceRule[], type: "b" | "c", major: number, minor: number, access: number) =>
  runDeviceProgram(deviceFilter(rules), { type, major, minor, access }) === 1;

describe("cgroup/device-filter", () => {
  test("by default: null may be used, a disk may be made but not opened", () => {
    const rules = deviceRules();
    expect(ask(rules, "c", 1, 3, r | w)).toBe(true);
    expect(ask(rules, "c", 136, 7, r | w)).toBe(true);
    expect(ask(rules, "b", 8, 0, m)).toBe(true);
    expect(ask(rules, "b", 8, 0, r)).toBe(false);
    expect(ask(rules, "b", 1, 3, r)).toBe(false);
    expect(ask(rules, "c", 10, 229, w)).toBe(false);
  });

  test("a later denial of writing is not passed by asking to read as well", () => {
    const rules: DeviceRule[] = [
      { allow: true, type: "b", major: 8, minor: -1, access: r | w | m },
      { allow: false, type: "b", major: 8, minor: 1, access: w },
    ];
    expect(ask(rules, "b", 8, 1, r)).toBe(true);
    expect(ask(rules, "b", 8, 1, w)).toBe(false);
    expect(ask(rules, "b", 8, 1, r | w)).toBe(false);
    expect(ask(rules, "b", 8, 2, r | w)).toBe(true);
  });

  test("reading from one rule and writing from another make both", () => {
    const rules: DeviceRule[] = [
      { allow: true, type: "c", major: 1, minor: -1, access: r },
      { allow: true, type: "c", major: 1, minor: 3, access: w },
    ];
    expect(ask(rules, "c", 1, 3, r | w)).toBe(true);
    expect(ask(rules, "c", 1, 5, r | w)).toBe(false);
  });

  test("numbers beyond the kernel's match nothing", () => {
    const rules: DeviceRule[] = [{ allow: true, type: "c", major: 2 ** 32 - 1, minor: -1, access: r }];
    expect(ask(rules, "c", 2 ** 32 - 1, 0, r)).toBe(false);
    expect(ask(rules, "c", 0, 0, r)).toBe(false);
  });

  test("the program that is kept for the default rules is theirs", () => {
    expect(Buffer.from(defaultDeviceFilter()).toString("base64")).toBe(
      Buffer.from(deviceFilter(deviceRules())).toString("base64"),
    );
  });

  test("any rules mean in the program what they mean in words", () => {
    const number = fc.integer({ min: -1, max: 3 });
    const rule = fc.record<DeviceRule>({
      allow: fc.boolean(),
      type: fc.constantFrom("b", "c"),
      major: number,
      minor: number,
      access: fc.integer({ min: 0, max: 7 }),
    });
    const request = fc.record<DeviceAccess>({
      type: fc.constantFrom("b", "c"),
      access: fc.integer({ min: 1, max: 7 }),
      major: fc.integer({ min: 0, max: 3 }),
      minor: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 12 }), request, (rules, asked) => {
        expect(runDeviceProgram(deviceFilter(rules), asked)).toBe(isAllowed(rules, asked) ? 1 : 0);
      }),
      { numRuns: 2000 },
    );
  });
});
