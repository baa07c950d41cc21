import { describe, expect, test } from "vitest";
import { deviceRules } from "../../../../src/cgroup/device-rules.ts";
import { resourceWrites } from "../../../../src/cgroup/resources.ts";
import { readAnnotated } from "../../../../src/cgroup/systemd/annotations.ts";
import { addresses } from "../../../../src/cgroup/systemd/bus.ts";
import { deviceProperties, isList } from "../../../../src/cgroup/systemd/devices.ts";
import { limitProperties, needsRelease, setBits } from "../../../../src/cgroup/systemd/properties.ts";
import type { LinuxDeviceCgroup, LinuxResources } from "../../../../src/spec/types.ts";

function properties(resources: LinuxResources, version: 1 | 2 = 2, release = 252): Record<string, unknown> {
  const list = limitProperties(resourceWrites(resources, version), version, release);
  return Object.fromEntries(list.map(([name, { value }]) => [name, value]));
}

const INFINITY = 2n ** 64n - 1n;

describe("limits as properties", () => {
  test("v2: what the files are told, by the names that systemd has", () => {
    expect(
      properties({
        memory: { limit: 1000, swap: 1500, reservation: 500 },
        pids: { limit: 7 },
        cpu: { shares: 1024, quota: 50000, period: 200000, cpus: "0-2,9", mems: "0" },
        blockIO: { weight: 500 },
        unified: { "memory.high": "900", "memory.min": "10" },
      }),
    ).toEqual({
      MemoryMax: 1000n,
      MemorySwapMax: 500n,
      MemoryLow: 500n,
      MemoryHigh: 900n,
      MemoryMin: 10n,
      TasksMax: 7n,
      CPUWeight: 100n,
      IOWeight: 4950n,
      CPUQuotaPeriodUSec: 200000n,
      CPUQuotaPerSecUSec: 250000n,
      AllowedCPUs: new Uint8Array([0b111, 0b10]),
      AllowedMemoryNodes: new Uint8Array([1]),
    });
  });

  test("v1: the older names, and no sets of CPUs", () => {
    const cpu = { shares: 512, quota: 25000, cpus: "1" };
    expect(properties({ memory: { limit: 1000 }, pids: { limit: -1 }, cpu, blockIO: { weight: 100 } }, 1)).toEqual({
      MemoryLimit: 1000n,
      TasksMax: INFINITY,
      CPUShares: 512n,
      BlockIOWeight: 100n,
      CPUQuotaPeriodUSec: 100000n,
      CPUQuotaPerSecUSec: 250000n,
    });
  });

  test("no limit is the largest number, for a quota too", () => {
    expect(properties({ memory: { limit: -1 }, cpu: { quota: -1, period: 50000 } })).toEqual({
      MemoryMax: INFINITY,
      MemorySwapMax: INFINITY,
      CPUQuotaPeriodUSec: 50000n,
      CPUQuotaPerSecUSec: INFINITY,
    });
  });

  test("a quota that systemd cannot say is rounded up, never down", () => {
    expect(properties({ cpu: { quota: 33333, period: 100000 } }).CPUQuotaPerSecUSec).toBe(340000n);
  });

  test("an older systemd is not told what it does not know", () => {
    const cpu = { quota: 1000, period: 10000, cpus: "0" };
    expect(Object.keys(properties({ cpu }, 2, 241))).toEqual(["CPUQuotaPerSecUSec"]);
    expect(Object.keys(properties({ cpu }, 2, 243))).toEqual(["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]);
    expect(needsRelease(resourceWrites({ cpu }, 2))).toBe(true);
    expect(needsRelease(resourceWrites({ memory: { limit: 5000 } }, 2))).toBe(false);
  });

  test("the weight of one device is none of the unit's", () => {
    const blockIO = { weightDevice: [{ major: 8, minor: 0, weight: 300 }] };
    expect(properties({ blockIO })).toEqual({});
  });

  test("a list of CPUs as bits", () => {
    expect(setBits("0,2-3,17")).toEqual(new Uint8Array([0b1101, 0, 0b10]));
    expect(setBits("")).toBeUndefined();
    expect(setBits("a-b")).toBeUndefined();
  });
});

const MAJORS = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  7 loop\n  8 sd\n136 other\n";

function devices(rules: LinuxDeviceCgroup[]): Record<string, unknown> {
  const list = deviceProperties(deviceRules(rules), MAJORS);
  return Object.fromEntries(list.map(([name, { value }]) => [name, value]));
}

describe("device rules as properties", () => {
  test("a list of what is allowed: single devices, majors by their numbers and for an older systemd by their names, all", () => {
    const { DevicePolicy, DeviceAllow } = devices([
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 10, minor: 229, access: "rw" },
      { allow: true, type: "b", major: 7, access: "r" },
      // Its driver may be loaded later.
      { allow: true, type: "c", major: 195, access: "rw" },
    ]);
    expect(DevicePolicy).toBe("strict");
    expect(DeviceAllow).toEqual(
      expect.arrayContaining([
        ["/dev/char/10:229", "rw"],
        ["block-7", "r"],
        ["block-loop", "r"],
        ["char-195", "rw"],
        ["char-*", "m"],
        ["block-*", "m"],
        ["/dev/char/1:3", "rwm"],
        ["char-136", "rwm"],
        ["char-pts", "rwm"],
      ]),
    );
  });

  test("a list has no minor of all majors, and is none without a part of the rules", () => {
    const none = { allow: false, access: "rwm" };
    const minor = { allow: true, type: "c", minor: 229, access: "rw" };
    const major = { allow: true, type: "c", major: 195, access: "rw" };
    expect(devices([none, minor]).DeviceAllow).toEqual(devices([none]).DeviceAllow);
    const listed = (...rules: LinuxDeviceCgroup[]) => isList(deviceRules(rules));
    expect([listed(none, minor), listed(none, major), listed()]).toEqual([false, true, true]);
    const all = { allow: true, access: "rwm" };
    expect([listed(all), listed(all, { ...major, allow: false })]).toEqual([true, false]);
  });

  test("everything allowed needs no list", () => {
    expect(devices([{ allow: true, access: "rwm" }])).toEqual({ DevicePolicy: "auto" });
  });

  test("a device that is denied after it was allowed is not in the list", () => {
    const fuse = { type: "c", major: 10, minor: 229 };
    const rules = [
      { allow: false, access: "rwm" },
      { ...fuse, allow: true, access: "rw" },
      { ...fuse, allow: false, access: "w" },
    ];
    expect(devices(rules).DeviceAllow).toContainEqual(["/dev/char/10:229", "r"]);
  });

  test("everything but some devices is no list, and is left to the files", () => {
    const rules = [
      { allow: true, access: "rwm" },
      { allow: false, type: "c", major: 10, minor: 229, access: "rwm" },
    ];
    expect(devices(rules)).toEqual({ DevicePolicy: "auto" });
  });

  test("a part of what is allowed cannot be denied on v1, and is refused", () => {
    const rules = [
      { allow: true, type: "c", major: 10, access: "rw" },
      { allow: false, type: "c", major: 10, minor: 229, access: "w" },
    ];
    expect(() => devices(rules)).toThrow("cgroup v1 cannot deny c 10:229 w after allowing c 10:* rw");
  });
});

function annotated(name: string, value: string): unknown {
  return readAnnotated({ other: "x", [`org.systemd.property.${name}`]: value })[0];
}

describe("annotations as properties", () => {
  test.each([
    ["'text'", { signature: "s", value: "text" }],
    ['"a\\"b"', { signature: "s", value: 'a"b' }],
    ["true", { signature: "b", value: true }],
    ["7", { signature: "i", value: 7 }],
    ["-0x10", { signature: "i", value: -16 }],
    ["1.5", { signature: "d", value: 1.5 }],
    ["uint64 18446744073709551615", { signature: "t", value: 2n ** 64n - 1n }],
    ["@t 5", { signature: "t", value: 5n }],
    ["['a.service', 'b']", { signature: "as", value: ["a.service", "b"] }],
    ["@as []", { signature: "as", value: [] }],
    ["[byte 1, 2]", { signature: "ay", value: new Uint8Array([1, 2]) }],
    ["[[1], [2, 3]]", { signature: "aai", value: [[1], [2, 3]] }],
  ])("%s", (text, value) => {
    expect(annotated("Some", text)).toEqual(["Some", value]);
  });

  test("seconds are microseconds for systemd", () => {
    expect(annotated("TimeoutStopSec", "1.5")).toEqual(["TimeoutStopUSec", { signature: "t", value: 1500000n }]);
    expect(annotated("TimeoutStopUSec", "uint64 9")).toEqual(["TimeoutStopUSec", { signature: "t", value: 9n }]);
  });

  test.each(["", "'open", "[1, 'a']", "[]", "uint32 -1", "byte 256", "nonsense", "7 8", "[1", "@", "uint64 'a'"])(
    "%j is refused",
    (text) => {
      expect(() => annotated("Some", text)).toThrow('annotations["org.systemd.property.Some"]');
    },
  );

  test("a time that is none, and a name that is none, are refused", () => {
    expect(() => annotated("TimeoutStopSec", "'6'")).toThrow("must be a number of seconds");
    expect(() => annotated("a b", "1")).toThrow("no name of a property");
  });
});

describe("where systemd is reached", () => {
  test("root's manager directly, or by the bus", () => {
    expect(addresses("system", {}).map(({ path }) => path)).toEqual([
      "/run/systemd/private",
      "/run/dbus/system_bus_socket",
    ]);
  });

  test("a user's by its runtime directory, or the address of the session", () => {
    const env = { XDG_RUNTIME_DIR: "/run/user/5", DBUS_SESSION_BUS_ADDRESS: "unix:guid=1,path=/tmp/a%20b,x=y" };
    expect(addresses("user", env)).toEqual([
      { path: "/run/user/5/systemd/private", isBus: false },
      { path: "/tmp/a b", isBus: true },
    ]);
    expect(addresses("user", {})).toEqual([]);
  });
});
