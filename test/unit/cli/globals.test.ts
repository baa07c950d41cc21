import { resolve } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { resolveGlobals, rootDirectory } from "../../../src/cli/globals.ts";

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

  test("the manager of cgroups has two flags, which must not differ", () => {
    expect(resolveGlobals({}).cgroupManager).toBe("cgroupfs");
    expect(resolveGlobals({ "systemd-cgroup": true }).cgroupManager).toBe("systemd");
    expect(resolveGlobals({ "cgroup-manager": "disabled" }).cgroupManager).toBe("disabled");
    expect(resolveGlobals({ "systemd-cgroup": true, "cgroup-manager": "systemd" }).cgroupManager).toBe("systemd");
    expect(() => resolveGlobals({ "systemd-cgroup": true, "cgroup-manager": "disabled" })).toThrow(
      "exclude each other",
    );
  });

  test("--rootless is true, false or auto", () => {
    expect(resolveGlobals({}).rootless).toBe("auto");
    expect(resolveGlobals({ rootless: "true" }).rootless).toBe(true);
    expect(resolveGlobals({ rootless: "false" }).rootless).toBe(false);
  });
});
