import { describe, expect, test } from "vitest";
import { problemsOf } from "../helpers.ts";

const seccomp = (value: unknown) => problemsOf((spec) => (spec.linux.seccomp = value));
const rule = (value: object) =>
  seccomp({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", ...value }] });

describe("spec/rules/seccomp", () => {
  test("a whole profile", () => {
    expect(
      seccomp({
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 38,
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        flags: ["SECCOMP_FILTER_FLAG_LOG"],
        syscalls: [
          { names: ["personality"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] },
          { names: ["clone"], action: "SCMP_ACT_TRACE", errnoRet: 65535, args: [] },
          {
            names: ["x"],
            action: "SCMP_ACT_ALLOW",
            args: [{ index: 5, value: 2n ** 64n - 1n, valueTwo: 1, op: "SCMP_CMP_MASKED_EQ" }],
          },
        ],
      }),
    ).toEqual([]);
  });

  test("an empty object is none", () => {
    expect(seccomp({})).toEqual([]);
    expect(seccomp({ syscalls: [] })).toEqual(["linux.seccomp.defaultAction: is missing"]);
  });

  test("who notifies names a listener, by an absolute path", () => {
    const notifying = (value: object) =>
      seccomp({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
        ...value,
      });
    expect(notifying({ listenerPath: "/run/agent.sock", listenerMetadata: "a" })).toEqual([]);
    const missing =
      "linux.seccomp.listenerPath: is missing: SCMP_ACT_NOTIFY needs it, or annotation run.oci.seccomp.receiver";
    expect(notifying({})).toEqual([missing]);
    expect(notifying({ listenerPath: "" })).toEqual([missing]);
    expect(notifying({ listenerPath: "agent.sock" })).toEqual([
      'linux.seccomp.listenerPath: must be an absolute path, not "agent.sock"',
    ]);
    // Who notifies of nothing may name anything.
    expect(seccomp({ defaultAction: "SCMP_ACT_ALLOW", listenerPath: "agent.sock" })).toEqual([]);
  });

  test("the default action, sendmsg and write cannot be asked about", () => {
    const listenerPath = "/run/agent.sock";
    expect(seccomp({ defaultAction: "SCMP_ACT_NOTIFY", listenerPath })).toEqual([
      "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action: nobody could hand the listener over",
    ]);
    const syscalls = [{ names: ["write", "sendmsg"], action: "SCMP_ACT_NOTIFY" }];
    expect(seccomp({ defaultAction: "SCMP_ACT_ALLOW", listenerPath, syscalls })).toEqual([
      "linux.seccomp.syscalls[0].names[0]: SCMP_ACT_NOTIFY cannot be used for the write syscall: a profile with it starts under no other runtime",
      "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for the sendmsg syscall: the listener is handed over with it",
    ]);
    const other = [{ names: ["__proto__", "toString"], action: "SCMP_ACT_NOTIFY" }];
    expect(seccomp({ defaultAction: "SCMP_ACT_ALLOW", listenerPath, syscalls: other })).toEqual([]);
  });

  test("unknown words", () => {
    expect(seccomp({ defaultAction: "SCMP_ACT_ALOW" })).toEqual([
      'linux.seccomp.defaultAction: unknown value "SCMP_ACT_ALOW", did you mean "SCMP_ACT_ALLOW"?',
    ]);
    expect(seccomp({ defaultAction: "SCMP_ACT_ALLOW", architectures: ["amd64"] })).toHaveLength(1);
    expect(seccomp({ defaultAction: "SCMP_ACT_ALLOW", flags: ["x"] })).toHaveLength(1);
    expect(rule({ args: [{ index: 0, value: 1, op: "==" }] })).toHaveLength(1);
  });

  test("numbers out of range", () => {
    expect(rule({ args: [{ index: 6, value: 1, op: "SCMP_CMP_EQ" }] })).toHaveLength(1);
    expect(rule({ errnoRet: 4096 })).toHaveLength(1);
    expect(rule({ names: [] })).toHaveLength(1);
    expect(rule({ names: ["", "read"] })).toHaveLength(1);
    expect(rule({ args: [{ index: 0, value: -1, op: "SCMP_CMP_EQ" }] })).toHaveLength(1);
  });
});
