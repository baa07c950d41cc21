import { afterEach, describe, expect, test, vi } from "vitest";
import type { Plan, Step } from "../../../src/plan/step.ts";
import { execFailure, initDied, stepFailure } from "../../../src/runtime/failure.ts";

const kernel = vi.hoisted(() => ({ version: [6, 1] as [number, number] }));
vi.mock(import("../../../src/sys/process.ts"), async (original) => ({
  ...(await original()),
  kernelVersion: () => kernel.version,
}));
afterEach(() => {
  kernel.version = [6, 1];
});

const EXEC: Step = { op: "exec", args: [["tool", "-x"], []], about: "process.args" };
const FIND: Step = { op: "findExecutable", args: [["/bin/tool"]], about: "process.args" };

function planOf(...steps: Step[]): Plan {
  return { steps: [...steps, EXEC], inherit: [{ name: "tasks:memory", fd: 9 }] };
}

const message = (step: Step, code: string) => stepFailure(planOf(step), 0, code).message;

describe("runtime/failure", () => {
  test("a command that is missing is told in runc's words: engines make 127 of them", () => {
    expect(message(FIND, "ENOENT")).toBe('exec: "tool": executable file not found in $PATH');
    const path: Plan = { steps: [FIND, { ...EXEC, args: [["/bin/tool"], []] }], inherit: [] };
    expect(stepFailure(path, 0, "ENOENT").message).toBe('exec: "/bin/tool": stat /bin/tool: no such file or directory');
  });

  test("one that may not be executed: engines make 126 of that", () => {
    expect(message(FIND, "EACCES")).toBe('exec: "tool": permission denied');
    expect(message(FIND, "EISDIR")).toBe('exec: "tool": permission denied: it is a directory');
  });

  test("what execve refuses says why, where it is known", () => {
    expect(execFailure("/x", "ENOENT").fix).toContain("interpreter");
    expect(execFailure("/x", "ENOEXEC").message).toBe('exec "/x": exec format error');
    expect(execFailure("/x", "EACCES").message).toBe('exec "/x": permission denied');
    expect(execFailure("/x", "E2BIG").message).toContain("E2BIG");
  });

  test("any other step is named with its part of config.json, its operation and the errno", () => {
    const step: Step = { op: "target", args: [7, 6, "/a/b", 1, 0, 0], about: "mounts[2] /a/b" };
    expect(message(step, "ENOTDIR")).toBe(
      "mounts[2] /a/b: target /a/b in 6, directory as 7: ENOTDIR (Not a directory)",
    );
    expect(stepFailure(planOf(step), 0, "ENOTDIR").fix).toContain("directory onto a file");
  });

  test("a place that cannot be made in a read-only root is told as that", () => {
    const step: Step = { op: "target", args: [7, 6, "/data", 1, 0, 0], about: "mounts[0] /data" };
    expect(stepFailure(planOf(step), 0, "EROFS").fix).toContain("the place is missing");
  });

  test("a root file system that the container's root cannot reach is told as that", () => {
    const step: Step = { op: "open", args: [6, "/home/me/rootfs", 0], about: "root.path" };
    expect(stepFailure(planOf(step), 0, "EACCES").fix).toContain("every directory on the way");
    expect(stepFailure(planOf({ ...step, about: "mounts[0] /a" }), 0, "EACCES").fix).toBeUndefined();
  });

  test("a kernel that is too old is told as that", () => {
    const old = (op: "cloexecFrom" | "mountSetattr", code: string) =>
      stepFailure(planOf({ op, args: [3], about: "process.args" }), 0, code).fix;
    expect(old("mountSetattr", "ENOSYS")).toBeUndefined();
    kernel.version = [5, 11];
    for (const code of ["ENOSYS", "EINVAL"]) expect(old("cloexecFrom", code)).toBe("tsrun needs Linux 5.12 or newer");
    expect(old("mountSetattr", "ENOSYS")).toBe("tsrun needs Linux 5.12 or newer");
  });

  test("a bind that does not fit its target is told with both types", () => {
    const like = (source: string, code: string) => {
      const open: Step = { op: "openTree", args: [7, -1, source, 0], about: "mounts[2] /a" };
      const target: Step = { op: "target", args: [8, 6, "/a", 3, 7, 0], about: "mounts[2] /a" };
      return stepFailure(planOf(open, target), 1, code).fix;
    };
    expect(like("/etc/passwd", "EISDIR")).toContain(
      "the source /etc/passwd is a file and the destination /a a directory",
    );
    expect(like("/etc", "ENOTDIR")).toContain("the source /etc is a directory and the destination /a, or a part");
    expect(like("/etc/passwd", "ENOTDIR")).toContain("a part of the path is a file");
    expect(like("", "EISDIR")).toContain("the source is a file");
  });

  test("a write is told with its file, not its descriptor", () => {
    const open: Step = { op: "open", args: [5, "/proc/self/oom_score_adj", 1, 0], about: "process.oomScoreAdj" };
    const write: Step = { op: "write", args: [5, "-9"], about: "process.oomScoreAdj" };
    const failure = stepFailure(planOf(open, write), 1, "EACCES");
    expect(failure.message).toContain('write "-9" to /proc/self/oom_score_adj: EACCES');
    expect(failure.fix).toContain("CAP_SYS_RESOURCE");
    const join: Step = { op: "write", args: [9, "0"], about: "linux.cgroupsPath memory" };
    expect(message(join, "EPERM")).toContain('write "0" to tasks:memory');
  });

  test("a list of thousands is shortened", () => {
    const groups = Array.from({ length: 60_000 }, (_, i) => String(i));
    const failed = message({ op: "user", args: [0, 0, 1, groups], about: "process.user" }, "EINVAL");
    expect(failed).toMatch(/^process\.user: user 0 group 0 groups \[0 1 2 .*\.\.\. \(\d+ characters\): EINVAL/);
    expect(failed.length).toBeLessThan(1200);
  });

  test("only of a bind's source and of a command is it said that there is no such file", () => {
    const bind: Step = { op: "openTree", args: [5, -1, "/src", 0], about: "mounts[0] /d" };
    expect(message(bind, "ENOENT")).toContain("no such file or directory");
    const other: Step = { op: "openIn", args: [5, 4, "sys/x", 1, 0], about: "linux.sysctl x" };
    expect(message(other, "ENOENT")).not.toContain("no such file or directory");
  });

  test("a failure outside of the plan is told as that", () => {
    for (const index of [-1, 99])
      expect(stepFailure(planOf(), index, "ENOMEM").message).toContain("outside its plan: ENOMEM");
  });

  test("an init that died says by what, and what that mostly means", () => {
    const end = { pid: 1, kind: "signaled", exitCode: 137, signal: 9, coreDumped: false } as const;
    expect(initDied(end)).toMatchObject({ fix: expect.stringContaining("memory.limit") });
    expect(initDied(end).message).toBe("the container's process was killed by SIGKILL while it was being set up");
    expect(initDied({ ...end, signal: 11 }).message).toContain("SIGSEGV");
    expect(initDied({ ...end, kind: "exited", exitCode: 2 }).message).toContain("ended with 2");
    expect(initDied(undefined).message).toContain("was killed while");
  });
});
