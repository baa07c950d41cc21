import { describe, expect, test } from "vitest";
import { restoredLabelProblems } from "../../../src/spec/host-checks.ts";
import { HOST } from "./helpers.ts";

describe("spec/host-checks", () => {
  const problems = (options: { lsmProfile?: string; lsmMountContext?: string }, modules: object = {}) =>
    restoredLabelProblems(options, { ...HOST, ...modules }).map(({ path, message }) => `${path}: ${message}`);
  const none = { apparmor: false, selinux: false };

  test("labels for a restore are those of a module that the host has", () => {
    expect(problems({}, none)).toEqual([]);
    expect(problems({ lsmProfile: "apparmor:other" }, { ...none, apparmor: true })).toEqual([]);
    const label = "selinux:system_u:system_r:container_t:s0";
    expect(problems({ lsmProfile: label, lsmMountContext: "x" }, { ...none, selinux: true })).toEqual([]);
    expect(problems({ lsmProfile: "apparmor:other" }, none)).toEqual([
      "--lsm-profile: AppArmor is not enabled on this host",
    ]);
    expect(problems({ lsmProfile: label, lsmMountContext: "x" }, none)).toEqual([
      "--lsm-profile: SELinux is disabled or not supported on this host",
      "--lsm-mount-context: SELinux is disabled or not supported on this host",
    ]);
  });

  test("a profile without the module that it is of is refused", () => {
    for (const lsmProfile of ["other", "apparmor:", "smack:other", ":other"]) {
      expect(problems({ lsmProfile }, { apparmor: true, selinux: true })).toEqual([
        `--lsm-profile: must be apparmor:PROFILE or selinux:LABEL, not "${lsmProfile}"`,
      ]);
    }
  });
});
