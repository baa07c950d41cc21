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
import { checkDeviceProgram, type DeviceAccess, runDeviceProgram, traceDeviceProgram } from "./ebpf.ts";

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

  const rule = (number: fc.Arbitrary<number>) =>
    fc.record<DeviceRule>({
      allow: fc.boolean(),
      type: fc.constantFrom("b", "c"),
      major: number,
      minor: number,
      access: fc.integer({ min: 0, max: 7 }),
    });
  const request = (major: fc.Arbitrary<number>, minor = major) =>
    fc.record<DeviceAccess>({
      type: fc.constantFrom("b", "c"),
      access: fc.integer({ min: 1, max: 7 }),
      major,
      minor,
    });

  test("any rules mean in the program what they mean in words", () => {
    const number = fc.integer({ min: -1, max: 3 });
    const asked = request(fc.integer({ min: 0, max: 4 }));
    fc.assert(
      fc.property(fc.array(rule(number), { maxLength: 12 }), asked, (rules, access) => {
        const program = deviceFilter(rules);
        checkDeviceProgram(program);
        expect(runDeviceProgram(program, access)).toBe(isAllowed(rules, access) ? 1 : 0);
      }),
      { numRuns: 4000 },
    );
  });

  test("so do hundreds of rules, for a minor of all majors too", () => {
    const number = fc.oneof({ weight: 1, arbitrary: fc.constant(-1) }, { weight: 8, arbitrary: fc.nat(40) });
    const asked = request(fc.nat(41));
    fc.assert(
      fc.property(
        fc.array(rule(number), { minLength: 100, maxLength: 400 }),
        fc.array(asked, { minLength: 50, maxLength: 50 }),
        (rules, accesses) => {
          const program = deviceFilter(rules);
          checkDeviceProgram(program);
          for (const access of accesses) {
            expect(runDeviceProgram(program, access), JSON.stringify(access)).toBe(isAllowed(rules, access) ? 1 : 0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("the largest numbers of the kernel are told from those before them", () => {
    const [major, minor] = [2 ** 12 - 1, 2 ** 20 - 1];
    const rules: DeviceRule[] = [
      { allow: true, type: "c", major, minor: -1, access: r },
      { allow: false, type: "c", major, minor, access: r },
      { allow: true, type: "b", major, minor, access: r },
    ];
    expect(ask(rules, "c", major, minor - 1, r)).toBe(true);
    expect(ask(rules, "c", major, minor, r)).toBe(false);
    expect(ask(rules, "b", major, minor, r)).toBe(true);
    expect(ask(rules, "b", major - 1, minor, r)).toBe(false);
  });

  test("a rule that later ones leave nothing of makes no program longer", () => {
    const rules: DeviceRule[] = [
      { allow: false, type: "c", major: 1, minor: 3, access: r | w | m },
      { allow: true, type: "c", major: 1, minor: 3, access: r },
      { allow: true, type: "c", major: 1, minor: -1, access: r | w },
      { allow: false, type: "c", major: 1, minor: 3, access: m },
    ];
    expect(deviceFilter(rules)).toEqual(deviceFilter(rules.slice(2, 3)));
  });

  // What the verifier walks: each instruction once. Its bound is a million, and a jump reaches 32767 instructions.
  const alternating = (type: "a" | "c", count: number) => {
    const rules = Array.from({ length: count }, (_, i) => ({ allow: i % 2 === 0, type, major: i >> 2, minor: i }));
    return deviceRules([{ allow: false }, ...rules, { allow: true, type: "c", major: -1, access: "w" }, ...rules]);
  };

  test.each([
    ["c", 4000],
    ["a", 4000],
    ["c", 10_000],
    ["a", 10_000],
  ] as const)("type %s, %i rules that allow and deny by turns: a search of few steps", (type, count) => {
    const rules = alternating(type, count);
    const program = deviceFilter(rules);
    checkDeviceProgram(program);
    expect(program.length / 8).toBeLessThan(17 * count);
    for (const kind of ["b", "c"] as const) {
      for (let i = 0; i < count; i += 61) {
        for (const access of [r, w, r | w]) {
          const asked = { type: kind, major: i >> 2, minor: i, access };
          const { result, steps } = traceDeviceProgram(program, asked);
          expect(result, JSON.stringify(asked)).toBe(isAllowed(rules, asked) ? 1 : 0);
          expect(steps).toBeLessThan(50);
        }
      }
    }
  });

  test("rules for a minor of all majors among those for all minors make no table of their crossings", () => {
    const rules = Array.from({ length: 2000 }, (_, i) => ({
      allow: i % 3 !== 0,
      type: "c",
      ...(i % 100 < 50 ? { major: i } : { minor: i }),
    }));
    const list = deviceRules(rules);
    const program = deviceFilter(list);
    checkDeviceProgram(program);
    expect(program.length / 8).toBeLessThan(17 * 2000);
    const asked = request(fc.nat(2000));
    fc.assert(
      fc.property(asked, (access) => {
        expect(runDeviceProgram(program, access)).toBe(isAllowed(list, access) ? 1 : 0);
      }),
      { numRuns: 2000 },
    );
  });
});
