import { describe, expect, test } from "vitest";
import type { Problem } from "../../../src/errors.ts";
import { type Decision, decisions, type Rule } from "../../../src/seccomp/rules.ts";
import type { LinuxSeccomp, LinuxSeccompArg } from "../../../src/spec/types.ts";

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;

function decide(profile: Partial<LinuxSeccomp>): Map<string, Decision> {
  const problems: Problem[] = [];
  const { byName } = decisions({ defaultAction: "SCMP_ACT_ERRNO", ...profile }, problems);
  expect(problems).toEqual([]);
  return byName;
}

function problemsOf(profile: Partial<LinuxSeccomp>): string[] {
  const problems: Problem[] = [];
  decisions({ defaultAction: "SCMP_ACT_ERRNO", ...profile }, problems);
  return problems.map(({ path, message }) => `${path}: ${message}`);
}

const equals = (index: number, value: number | bigint): LinuxSeccompArg => ({ index, value, op: "SCMP_CMP_EQ" });
const entry = (action: string, ...args: LinuxSeccompArg[]) => ({ names: ["read"], action, args });

describe("seccomp/rules", () => {
  test("every action has the value that seccomp(2) gives it, with its errno", () => {
    const action = (name: string, errnoRet?: number) =>
      decisions({ defaultAction: name, ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }) }, [])
        .defaultAction;
    expect(action("SCMP_ACT_KILL")).toBe(0);
    expect(action("SCMP_ACT_KILL_THREAD")).toBe(0);
    expect(action("SCMP_ACT_KILL_PROCESS")).toBe(0x80000000);
    expect(action("SCMP_ACT_TRAP")).toBe(0x00030000);
    expect(action("SCMP_ACT_ERRNO")).toBe(EPERM);
    expect(action("SCMP_ACT_ERRNO", 38)).toBe(0x00050026);
    expect(action("SCMP_ACT_ERRNO", 0)).toBe(0x00050000);
    expect(action("SCMP_ACT_TRACE")).toBe(0x7ff00001);
    expect(action("SCMP_ACT_TRACE", 0xffff)).toBe(0x7ff0ffff);
    expect(action("SCMP_ACT_LOG")).toBe(0x7ffc0000);
    expect(action("SCMP_ACT_ALLOW")).toBe(ALLOW);
  });

  test("an entry without arguments decides for all its names", () => {
    const byName = decide({ syscalls: [{ names: ["read", "write"], action: "SCMP_ACT_ALLOW" }] });
    expect([...byName]).toEqual([
      ["read", ALLOW],
      ["write", ALLOW],
    ]);
  });

  test("an entry with the default action decides nothing, but its names are known", () => {
    expect(decide({ syscalls: [entry("SCMP_ACT_ERRNO")] }).get("read")).toEqual([]);
  });

  test("an entry with the default action but another errno decides", () => {
    const syscalls = [{ names: ["read"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }];
    expect(decide({ syscalls }).get("read")).toBe(0x00050026);
  });

  test("the first verdict without arguments wins over everything else about the call", () => {
    const syscalls = [
      entry("SCMP_ACT_LOG", equals(0, 1)),
      entry("SCMP_ACT_ALLOW"),
      entry("SCMP_ACT_KILL"),
      entry("SCMP_ACT_TRAP", equals(0, 1)),
    ];
    expect(decide({ syscalls }).get("read")).toBe(ALLOW);
  });

  test("the default action takes no part in that", () => {
    const syscalls = [entry("SCMP_ACT_ERRNO"), entry("SCMP_ACT_ALLOW", equals(0, 1)), entry("SCMP_ACT_ERRNO")];
    expect(decide({ syscalls }).get("read")).toHaveLength(1);
  });

  test("the conditions of an entry all hold, in the order of the arguments", () => {
    const [rule] = decide({ syscalls: [entry("SCMP_ACT_ALLOW", equals(2, 5), equals(0, 7))] }).get("read") as never[];
    expect(rule).toMatchObject({
      action: ALLOW,
      conditions: [
        { index: 0, low: 7 },
        { index: 2, low: 5 },
      ],
    });
  });

  test("conditions on one and the same argument are alternatives", () => {
    const rules = decide({ syscalls: [entry("SCMP_ACT_ALLOW", equals(0, 1), equals(0, 2), equals(1, 3))] }).get("read");
    expect(rules).toMatchObject([
      { conditions: [{ index: 0, low: 1 }] },
      { conditions: [{ index: 0, low: 2 }] },
      { conditions: [{ index: 1, low: 3 }] },
    ]);
  });

  test("a comparison of no bits holds always", () => {
    const never = { index: 0, value: 0, valueTwo: 5, op: "SCMP_CMP_MASKED_EQ" };
    expect(decide({ syscalls: [entry("SCMP_ACT_ALLOW", never)] }).get("read")).toBe(ALLOW);
    const both = decide({ syscalls: [entry("SCMP_ACT_ALLOW", never, equals(1, 2))] }).get("read");
    expect(both).toMatchObject([{ conditions: [{ index: 1 }] }]);
    expect(decide({ syscalls: [entry("SCMP_ACT_ALLOW", never, equals(0, 2))] }).get("read")).toBe(ALLOW);
  });

  test("rules of one action keep the order of the profile", () => {
    const syscalls = [entry("SCMP_ACT_ALLOW", equals(0, 1)), entry("SCMP_ACT_ALLOW", equals(0, 9))];
    expect(decide({ syscalls }).get("read")).toMatchObject([
      { conditions: [{ low: 1 }] },
      { conditions: [{ low: 9 }] },
    ]);
  });

  test("rules of different actions are tried in the order of libseccomp, not of the profile", () => {
    const rule = (action: string, index: number, op: string, value: number) =>
      entry(action, { index, value, op: `SCMP_CMP_${op}` });
    const syscalls = [
      rule("SCMP_ACT_LOG", 0, "GT", 1),
      rule("SCMP_ACT_KILL", 0, "GT", 5),
      rule("SCMP_ACT_ALLOW", 0, "LT", 9),
      rule("SCMP_ACT_LOG", 0, "LT", 3),
      rule("SCMP_ACT_KILL", 0, "EQ", 2),
      rule("SCMP_ACT_TRAP", 1, "GT", 0),
    ];
    const rules = decide({ syscalls }).get("read") as Rule[];
    expect(rules.map(({ conditions: [c] }) => `${c?.index} ${c?.op} ${c?.low}`)).toEqual([
      "1 GT 0",
      "0 EQ 2",
      "0 LT 3",
      "0 LT 9",
      "0 GT 5",
      "0 GT 1",
    ]);
  });

  test("64-bit values come as numbers or bigints", () => {
    const halves = (value: number | bigint) => {
      const rules = decide({ syscalls: [entry("SCMP_ACT_ALLOW", equals(0, value))] }).get("read");
      const [rule] = rules as Rule[];
      return [rule?.conditions[0]?.high, rule?.conditions[0]?.low];
    };
    expect(halves(0xffffffff)).toEqual([0, 0xffffffff]);
    expect(halves(0x100000000)).toEqual([1, 0]);
    expect(halves(Number.MAX_SAFE_INTEGER)).toEqual([0x1fffff, 0xffffffff]);
    expect(halves(0xffffffffffffffffn)).toEqual([0xffffffff, 0xffffffff]);
  });

  test("everything wrong is said at once, with its path", () => {
    expect(
      problemsOf({
        defaultAction: "SCMP_ACT_ALOW",
        syscalls: [
          { names: [], action: "SCMP_ACT_ALLOW" },
          { names: ["read"], action: "constructor" },
          entry("SCMP_ACT_ALLOW", { index: 6, value: 0, op: "SCMP_CMP_EQ" }),
          entry("SCMP_ACT_ALLOW", { index: 0, value: -1, op: "SCMP_CMP_EQQ" }),
          entry("SCMP_ACT_ALLOW", { index: 0.5, value: 1, valueTwo: 2n ** 64n, op: "toString" }),
        ],
      }),
    ).toEqual([
      'linux.seccomp.defaultAction: unknown action "SCMP_ACT_ALOW", did you mean "SCMP_ACT_ALLOW"?',
      "linux.seccomp.syscalls[0].names: must name a system call",
      'linux.seccomp.syscalls[1].action: unknown action "constructor"',
      "linux.seccomp.syscalls[2].args[0].index: a system call has arguments 0 to 5, not 6",
      'linux.seccomp.syscalls[3].args[0].op: unknown operator "SCMP_CMP_EQQ", did you mean "SCMP_CMP_EQ"?',
      "linux.seccomp.syscalls[3].args[0].value: must be a number from 0 to 2^64-1, not -1",
      'linux.seccomp.syscalls[4].args[0].op: unknown operator "toString"',
      "linux.seccomp.syscalls[4].args[0].index: a system call has arguments 0 to 5, not 0.5",
      "linux.seccomp.syscalls[4].args[0].valueTwo: must be a number from 0 to 2^64-1, not 18446744073709551616",
    ]);
  });

  test("a value that JSON.parse has rounded is refused", () => {
    expect(problemsOf({ syscalls: [entry("SCMP_ACT_ALLOW", equals(0, 2 ** 64))] })).toEqual([
      "linux.seccomp.syscalls[0].args[0].value: is beyond 2^53, where a JavaScript number is not exact: give a bigint",
    ]);
  });

  test("an errno belongs to ERRNO and TRACE and fits the kernel's limit", () => {
    expect(problemsOf({ defaultAction: "SCMP_ACT_ALLOW", defaultErrnoRet: 1 })).toEqual([
      "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW returns no errno",
    ]);
    const syscalls = [{ names: ["read"], action: "SCMP_ACT_ERRNO", errnoRet: 4096 }];
    expect(problemsOf({ syscalls })).toEqual([
      "linux.seccomp.syscalls[0].errnoRet: must be a number from 0 to 4095, not 4096",
    ]);
  });

  test("SCMP_ACT_NOTIFY is an action of calls, and refused as the default", () => {
    expect(problemsOf({ defaultAction: "SCMP_ACT_NOTIFY", syscalls: [entry("SCMP_ACT_NOTIFY")] })).toEqual([
      "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action: nobody could hand the listener over",
    ]);
  });

  test("two verdicts on the same calls are refused", () => {
    const syscalls = [
      entry("SCMP_ACT_ALLOW", equals(0, 1)),
      entry("SCMP_ACT_ALLOW", equals(0, 1)),
      entry("SCMP_ACT_KILL", equals(0, 1)),
      entry("SCMP_ACT_KILL", equals(0, 1), equals(1, 1)),
    ];
    const message = 'about the same calls of "read"';
    expect(problemsOf({ syscalls })).toEqual([
      `linux.seccomp.syscalls[2]: decides otherwise than linux.seccomp.syscalls[0] ${message}`,
      `linux.seccomp.syscalls[2]: decides otherwise than linux.seccomp.syscalls[1] ${message}`,
    ]);
  });

  test("an empty name is refused", () => {
    expect(problemsOf({ syscalls: [{ names: ["read", ""], action: "SCMP_ACT_ALLOW" }] })).toEqual([
      "linux.seccomp.syscalls: a system call has an empty name",
    ]);
  });
});
