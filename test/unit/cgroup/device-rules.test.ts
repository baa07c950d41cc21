import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ACCESS_ALL,
  allowsEverything,
  type DeviceRule,
  deviceRules,
  isDefaultRules,
} from "../../../src/cgroup/device-rules.ts";
import { DEFAULT_DEVICE_WRITES, deviceWrites } from "../../../src/cgroup/v1/devices.ts";

const lines = (rules: readonly DeviceRule[]) =>
  deviceWrites(rules).map(({ file, value }) => `${file.slice(8)} ${value}`);
const defaults = lines(deviceRules()).slice(1);

describe("cgroup/device-rules", () => {
  test("type a, or none, is both types, and what is absent is all", () => {
    expect(deviceRules([{ allow: false }]).slice(0, 2)).toEqual([
      { allow: false, type: "b", major: -1, minor: -1, access: ACCESS_ALL },
      { allow: false, type: "c", major: -1, minor: -1, access: ACCESS_ALL },
    ]);
  });

  test("the defaults follow the rules of the config", () => {
    const rules = deviceRules([{ allow: true, type: "b", major: 8, minor: 0, access: "rw" }]);
    expect(rules[0]).toEqual({ allow: true, type: "b", major: 8, minor: 0, access: 6 });
    expect(rules).toHaveLength(12);
  });

  test("a device of the config at the path of a default one drops that one's rule", () => {
    const devices = [{ path: "/dev/full", type: "c", major: 7, minor: 7 }];
    expect(lines(deviceRules([], devices))).not.toContain("allow c 1:7 rwm");
  });

  test("letters and types that do not exist are refused by their place", () => {
    expect(() => deviceRules([{ allow: true, access: "xy" }])).toThrow("linux.resources.devices[0].access");
    expect(() => deviceRules([{ allow: true }, { allow: true, type: "p" }])).toThrow("linux.resources.devices[1].type");
  });

  test("only rules that open everything make a filter needless", () => {
    const all = { allow: true, access: "rwm" };
    expect(allowsEverything(deviceRules([all]))).toBe(true);
    expect(allowsEverything(deviceRules([all, { allow: false, type: "b", major: 8 }]))).toBe(false);
    expect(allowsEverything(deviceRules([{ allow: true, type: "b" }]))).toBe(false);
    expect(
      allowsEverything(
        deviceRules([
          { allow: true, type: "b" },
          { allow: true, type: "c", access: "rw" },
        ]),
      ),
    ).toBe(true);
    expect(allowsEverything(deviceRules())).toBe(false);
  });

  test("rules that only deny come to the defaults", () => {
    const denials = [
      { allow: false, access: "rwm" },
      { allow: false, type: "b", major: 8 },
    ];
    expect(isDefaultRules(denials)).toBe(true);
    expect(lines(deviceRules(denials))).toEqual(lines(deviceRules()));
    expect(isDefaultRules([{ allow: true }])).toBe(false);
  });
});

describe("cgroup/v1/devices", () => {
  test("everything is denied and the exceptions follow", () => {
    expect(lines(deviceRules([{ allow: true, type: "b", major: 8, minor: 1, access: "r" }]))).toEqual([
      "deny a",
      "allow b 8:1 r",
      ...defaults,
    ]);
  });

  test("the writes that are kept for the default rules are theirs", () => {
    expect(deviceWrites(deviceRules())).toEqual(DEFAULT_DEVICE_WRITES);
  });

  test("privileged: everything is allowed and the defaults change nothing", () => {
    expect(lines(deviceRules([{ allow: true, access: "rwm" }]))).toEqual(["allow a"]);
  });

  test("privileged but for one device", () => {
    const rules = deviceRules([{ allow: true }, { allow: false, type: "b", major: 8, minor: 1, access: "rw" }]);
    expect(lines(rules)).toEqual(["allow a", "deny b 8:1 rw"]);
  });

  test("a rule that a later one takes back is not written: the kernel would keep it", () => {
    const rules = deviceRules([
      { allow: true, type: "b", major: 8, minor: 1, access: "rwm" },
      { allow: false, type: "b", access: "rwm" },
    ]);
    expect(lines(rules)).toEqual(["deny a", ...defaults]);
  });

  test("a hole in a wider rule is refused rather than made wrongly", () => {
    const rules = [
      { allow: true, type: "b", major: 8, access: "rwm" },
      { allow: false, type: "b", major: 8, minor: 1, access: "w" },
    ];
    expect(() => deviceWrites(deviceRules(rules))).toThrow("cgroup v1 cannot deny b 8:1 w after allowing b 8:* rwm");
  });

  test("what is written means what the rules mean", () => {
    const number = fc.integer({ min: -1, max: 2 });
    const rule = fc.record<DeviceRule>({
      allow: fc.boolean(),
      type: fc.constantFrom("b", "c"),
      major: number,
      minor: number,
      access: fc.constantFrom(1, 2, 4, 7, 7),
    });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 6 }), fc.constantFrom(1, 2, 4), (rules, access) => {
        let written: string[];
        try {
          written = lines(rules);
        } catch {
          return;
        }
        for (const [type, major, minor] of [
          ["b", 0, 1],
          ["c", 2, 0],
          ["b", 2, 2],
        ] as const) {
          const last = rules.findLast(
            (x) =>
              x.type === type &&
              [-1, major].includes(x.major) &&
              [-1, minor].includes(x.minor) &&
              (x.access & access) !== 0,
          );
          expect(kernelAllows(written, type, major, minor, access), written.join("; ")).toBe(last?.allow ?? false);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** security/device_cgroup.c for one kind of access: the first write sets the answer, all others are exceptions. */
function kernelAllows(written: string[], type: string, major: number, minor: number, access: number): boolean {
  const byDefault = written[0] === "allow a";
  const isException = written.slice(1).some((line) => {
    const [, kind, numbers = "", letters = ""] = line.split(" ");
    const [a, b] = numbers.split(":");
    const letter = { 1: "m", 2: "r", 4: "w" }[access] ?? "";
    return (
      kind === type &&
      ["*", String(major)].includes(a ?? "") &&
      ["*", String(minor)].includes(b ?? "") &&
      letters.includes(letter)
    );
  });
  return isException ? !byDefault : byDefault;
}
