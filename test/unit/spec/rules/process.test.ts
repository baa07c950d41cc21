import { describe, expect, test } from "vitest";
import { inspectProcess } from "../../../../src/spec/validate.ts";
import { problemsOf, warningsOf } from "../helpers.ts";

describe("spec/rules/process", () => {
  test("there must be a process, with something to run", () => {
    expect(problemsOf((spec) => delete spec.process)).toEqual(["process: is missing: it says what to run"]);
    for (const args of [undefined, []]) {
      expect(problemsOf((spec) => Object.assign(spec.process, { args })).join()).toContain("args must not be empty");
    }
  });

  test("cwd is absolute and no open descriptor", () => {
    expect(problemsOf((spec) => delete spec.process.cwd)).toEqual(["process.cwd: is missing"]);
    expect(problemsOf((spec) => (spec.process.cwd = "a"))).toEqual(['process.cwd: must be an absolute path, not "a"']);
    expect(problemsOf((spec) => (spec.process.cwd = ""))).toHaveLength(1);
    for (const cwd of [
      "/proc/self/fd/7",
      "/proc/1/fd",
      "//proc//self/fd/7/..",
      "/proc/self/task/1/fd/3",
      "/dev/fd/7",
    ]) {
      expect(
        problemsOf((spec) => (spec.process.cwd = cwd)),
        cwd,
      ).toHaveLength(1);
    }
    for (const cwd of ["/proc", "/srv/fd", "/proc/self/fdinfo", "/a/proc/self/fd"]) {
      expect(
        problemsOf((spec) => (spec.process.cwd = cwd)),
        cwd,
      ).toEqual([]);
    }
    expect(problemsOf((spec) => (spec.process.args = ["/proc/self/fd/3"]))).toHaveLength(1);
  });

  test("environment entries are NAME=value", () => {
    expect(problemsOf((spec) => (spec.process.env = ["A=", "B==", "C", "=D", ""]))).toEqual([
      'process.env[2]: "C" is not of the form NAME=value',
      'process.env[3]: "=D" is not of the form NAME=value',
      'process.env[4]: "" is not of the form NAME=value',
    ]);
  });

  test("strings with NUL and numbers out of range are named", () => {
    expect(problemsOf((spec) => (spec.process.args = ["a\0b"]))).toEqual([
      'process.args[0]: contains a NUL byte: "a\\u0000b"',
    ]);
    expect(problemsOf((spec) => (spec.process.user.uid = 2 ** 32 - 1))).toEqual([
      "process.user.uid: 4294967295 is out of range, 0 to 4294967294",
    ]);
    expect(problemsOf((spec) => (spec.process.user.uid = -1))).toHaveLength(1);
    expect(problemsOf((spec) => (spec.process.user.gid = 1.5))).toEqual([
      "process.user.gid: must be a whole number, not 1.5",
    ]);
    expect(problemsOf((spec) => (spec.process.user.uid = "root"))).toEqual([
      'process.user.uid: must be a number, not the string "root"',
    ]);
    expect(problemsOf((spec) => (spec.process.oomScoreAdj = -1001))).toHaveLength(1);
    expect(problemsOf((spec) => (spec.process.consoleSize = { height: 70000, width: 1 }))).toHaveLength(1);
    expect(problemsOf((spec) => (spec.process.args = ["x".repeat(128 * 1024)]))).toHaveLength(1);
    expect(problemsOf((spec) => (spec.process.terminal = "yes"))).toEqual([
      'process.terminal: must be true or false, not the string "yes"',
    ]);
  });

  test("the user may be left out", () => {
    expect(problemsOf((spec) => delete spec.process.user)).toEqual([]);
    expect(problemsOf((spec) => (spec.process.user = {}))).toEqual([]);
  });

  test("a umask that was meant as octal is a warning", () => {
    expect(warningsOf((spec) => (spec.process.user.umask = 755))).toHaveLength(1);
    expect(warningsOf((spec) => (spec.process.user.umask = 0o777))).toEqual([]);
  });

  test("unknown capabilities are a warning, with what was meant", () => {
    expect(warningsOf((spec) => spec.process.capabilities.bounding.push("CAP_SYS_ADMN"))).toEqual([
      'process.capabilities.bounding[3]: unknown capability "CAP_SYS_ADMN", did you mean "CAP_SYS_ADMIN"?; it is left out',
    ]);
    expect(problemsOf((spec) => spec.process.capabilities.effective.push("CAP_NONE"))).toEqual([]);
  });

  test("a capability cannot be effective without being permitted", () => {
    expect(problemsOf((spec) => spec.process.capabilities.effective.push("CAP_CHOWN"))).toEqual([
      'process.capabilities.effective[3]: "CAP_CHOWN" is not in permitted, and the kernel refuses that',
    ]);
  });

  test("rlimits: known types, once each, soft up to hard", () => {
    const rlimits = (...list: unknown[]) => problemsOf((spec) => (spec.process.rlimits = list));
    expect(rlimits({ type: "RLIMIT_NOFIEL", soft: 1, hard: 1 })).toEqual([
      'process.rlimits[0].type: unknown value "RLIMIT_NOFIEL", did you mean "RLIMIT_NOFILE"?',
    ]);
    expect(rlimits({ type: "RLIMIT_CORE", soft: 1, hard: 1 }, { type: "RLIMIT_CORE", soft: 2, hard: 2 })).toEqual([
      'process.rlimits[1].type: "RLIMIT_CORE" is already set by process.rlimits[0]',
    ]);
    expect(rlimits({ type: "RLIMIT_CORE", soft: 2, hard: 1 })).toEqual([
      "process.rlimits[0].soft: 2 is more than the hard limit 1",
    ]);
    expect(rlimits({ type: "RLIMIT_CORE", soft: 2 ** 64, hard: 2 ** 64 })).toEqual([]);
    expect(rlimits({ type: "RLIMIT_CORE" })).toEqual([
      "process.rlimits[0].soft: is missing",
      "process.rlimits[0].hard: is missing",
    ]);
  });

  test("scheduler, I/O priority, CPU lists", () => {
    const scheduler = (value: unknown) => problemsOf((spec) => (spec.process.scheduler = value));
    expect(scheduler({})).toEqual(["process.scheduler.policy: is missing"]);
    expect(scheduler({ policy: "SCHED_OTHER", nice: 20 })).toHaveLength(1);
    expect(scheduler({ policy: "SCHED_OTHER", priority: 1 })).toHaveLength(1);
    expect(scheduler({ policy: "SCHED_RR", priority: 1, runtime: 5 })).toHaveLength(1);
    expect(scheduler({ policy: "SCHED_DEADLINE", runtime: 5, deadline: 6, period: 7 })).toEqual([]);
    const io = (priority: number) =>
      problemsOf((spec) => (spec.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority }));
    expect(io(7)).toEqual([]);
    expect(io(8)).toHaveLength(1);
    for (const priority of [0, -1, 100]) {
      expect(scheduler({ policy: "SCHED_FIFO", priority })).toEqual([
        `process.scheduler.priority: ${priority} is out of range, 1 to 99, for SCHED_FIFO`,
      ]);
    }
    expect(scheduler({ policy: "SCHED_FIFO", flags: ["SCHED_FLAG_KEEP_PARAMS"] })).toEqual([]);
    const affinity = (initial: string) => problemsOf((spec) => (spec.process.execCPUAffinity = { initial }));
    for (const list of ["", "0", "0-3,7", " 0 , 2-2,", "8191"]) expect(affinity(list), list).toEqual([]);
    for (const list of ["3-1", "0-", "-1", "1-2-3", "0 1", "8192", "0-99999", "x"]) {
      expect(affinity(list), list).toEqual([
        `process.execCPUAffinity.initial: "${list}" is no list of CPUs: "0-3,7" would be one`,
      ]);
    }
    expect(problemsOf((spec) => (spec.process.execCPUAffinity = { initial: "0-1,x" }))).toHaveLength(1);
  });

  test("a process on its own, for exec", () => {
    expect(inspectProcess({ cwd: "/", args: ["a"] }).problems).toEqual([]);
    expect(inspectProcess({ cwd: "x" }).problems.map(({ path }) => path)).toEqual(["process.cwd", "process.args"]);
    expect(inspectProcess(null).problems).toEqual([{ path: "process", message: "must be an object, not null" }]);
  });
});
