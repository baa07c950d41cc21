import { resolve } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { defineVerb } from "../../../src/cli/flags.ts";
import { type GlobalValues, resolveGlobals, rootDirectory } from "../../../src/cli/globals.ts";

const verb = (makesCgroup: boolean) =>
  defineVerb({ name: "v", summary: "", usage: "", flags: [], min: 0, max: 0, makesCgroup, run: () => 0 });

function asUser<T>(uid: number, action: () => T): T {
  const spy = vi.spyOn(process as { geteuid: () => number }, "geteuid").mockReturnValue(uid);
  try {
    return action();
  } finally {
    spy.mockRestore();
  }
}

describe("cli/globals", () => {
  test("states are in /run/tsrun for root, whatever XDG_RUNTIME_DIR says", () => {
    asUser(0, () =>
      expect(rootDirectory(undefined, { XDG_RUNTIME_DIR: "/run/user/0", USER: "root" })).toBe("/run/tsrun"),
    );
    asUser(0, () => expect(rootDirectory(undefined, {})).toBe("/run/tsrun"));
  });

  test("and in the runtime directory for others", () => {
    asUser(1000, () => {
      expect(rootDirectory(undefined, { XDG_RUNTIME_DIR: "/run/user/1000" })).toBe("/run/user/1000/tsrun");
      expect(rootDirectory(undefined, {})).toBe("/run/tsrun");
    });
  });

  test("--root is made absolute, and may not be the root directory in any spelling", () => {
    expect(rootDirectory("x", {})).toBe(resolve("x"));
    expect(rootDirectory("/run/containerd/runc/k8s.io/", {})).toBe("/run/containerd/runc/k8s.io");
    for (const root of ["/", "//", "/tmp/..", "/."])
      expect(() => rootDirectory(root, {}), root).toThrow("--root must not be /");
  });

  test("systemd's cgroups are refused to who makes one, and nothing to the others", () => {
    const refused: GlobalValues[] = [{ "systemd-cgroup": true }, { "cgroup-manager": "systemd" }];
    for (const values of refused) {
      expect(() => resolveGlobals(values, verb(true))).toThrow(
        "cgroups made by systemd are not supported in this release",
      );
      expect(resolveGlobals(values, verb(false)).systemdCgroup).toBe(true);
    }
    expect(() => resolveGlobals({ "cgroup-manager": "disabled" }, verb(true))).toThrow("--cgroup-manager disabled");
    expect(resolveGlobals({ "cgroup-manager": "cgroupfs" }, verb(true)).systemdCgroup).toBe(false);
  });

  test("--rootless is true, false or auto", () => {
    expect(resolveGlobals({}, verb(true)).rootless).toBe("auto");
    expect(resolveGlobals({ rootless: "true" }, verb(true)).rootless).toBe(true);
    expect(resolveGlobals({ rootless: "false" }, verb(true)).rootless).toBe(false);
  });
});
