import { describe, expect, test } from "vitest";
import { problemsOf } from "../helpers.ts";

const device = (value: unknown) => problemsOf((spec) => (spec.linux.devices = [value]));

describe("spec/rules/devices", () => {
  test("nodes of every type, with the mode as callers send it", () => {
    expect(device({ path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 438, uid: 0, gid: 0 })).toEqual([]);
    expect(device({ path: "/dev/sda", type: "b", major: 8, minor: 0, fileMode: 0o60660 })).toEqual([]);
    expect(device({ path: "/dev/u", type: "u", major: 0, minor: 0xfffff })).toEqual([]);
    expect(device({ path: "/run/fifo", type: "p" })).toEqual([]);
  });

  test("numbers are needed, and in the kernel's range", () => {
    expect(device({ path: "/dev/x", type: "c" })).toEqual([
      'linux.devices[0].major: is needed for a device of type "c"',
      'linux.devices[0].minor: is needed for a device of type "c"',
    ]);
    expect(device({ path: "/dev/x", type: "b", major: 4096, minor: -1 })).toHaveLength(2);
  });

  test("type, path and mode", () => {
    expect(device({ path: "/dev/x", type: "d", major: 1, minor: 1 })).toHaveLength(1);
    expect(device({ path: "dev/x", type: "p" })).toHaveLength(1);
    expect(device({ path: "/dev/", type: "p" })).toHaveLength(1);
    expect(device({ path: "/dev/x", type: "p", fileMode: 0o200000 })).toHaveLength(1);
    expect(device({})).toEqual(["linux.devices[0].type: is missing", "linux.devices[0].path: is missing"]);
  });
});
