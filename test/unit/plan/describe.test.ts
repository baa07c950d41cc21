import { describe, expect, test } from "vitest";
import { describePlan, describeStep } from "../../../src/plan/describe.ts";
import { OPS, type OpName, type Step, type StepArg } from "../../../src/plan/step.ts";

const step = (op: OpName, ...args: StepArg[]): Step => ({ op, args, about: "test" });

describe("plan/describe", () => {
  test("bits are told by the names of their man pages", () => {
    expect(describeStep(step("clone", 0x60020000, -1))).toBe("clone3 network,mount,pid");
    expect(describeStep(step("mountSetattr", 7, "", 0x9000, 0x3, 0x1, 0x80000, -1))).toBe(
      "mount_setattr 7 recursive set rdonly,nosuid clear rdonly slave",
    );
    expect(describeStep(step("boundingSet", 0x21n))).toBe("bounding set chown,kill");
    expect(describeStep(step("boundingSet", 0n))).toBe("bounding set none");
    expect(describeStep(step("boundingSet", 2n ** 41n - 1n))).toBe("bounding set all");
    expect(describeStep(step("umask", 0o27))).toBe("umask 0027");
  });

  test("nodes have their type, device number, mode and owner", () => {
    expect(describeStep(step("mknod", 4, "/dev/null", 0o20666, 0x103, 0, 0))).toBe(
      "mknod /dev/null c 1:3 mode 0666 owner 0:0",
    );
    expect(describeStep(step("mknod", 4, "/dev/sda", 0o60640, 0x10072c, 1, 2))).toBe(
      "mknod /dev/sda b 7:300 mode 0640 owner 1:2",
    );
    expect(describeStep(step("mknod", 4, "/p", 0o10600, 0, 0, 0))).toBe("mknod /p p 0:0 mode 0600 owner 0:0");
  });

  test("text that could drive a terminal or pass for something else is quoted", () => {
    expect(describeStep(step("sethostname", "a b"))).toBe('sethostname "a b"');
    expect(describeStep(step("chdir", "/\u001b[2J"))).toBe('chdir "/\\u001b[2J"');
    expect(describeStep(step("exec", ["sh", "", "it's"], ["A=1"]))).toBe('execve [sh "" "it\'s"] with 1 variables');
    const about = { ...step("setsid"), about: "mounts[0] /\u001b[2J\n" };
    expect(describePlan({ steps: [about], inherit: [] })).toEqual(["0  setsid  # mounts[0] /\\x1b[2J\\n"]);
  });

  test("no operation is without words", () => {
    const example: Record<string, StepArg> = { n: 1, u: 1n, s: "text", l: ["a"], b: new Uint8Array(8) };
    for (const [op, kinds] of Object.entries(OPS)) {
      const line = describeStep(step(op as OpName, ...[...kinds].map((kind) => example[kind] as StepArg)));
      expect(line, op).toMatch(/^[a-z]/);
      expect(line, op).not.toMatch(/undefined|\[object/);
    }
  });

  test("lines are numbered as errors number them", () => {
    const steps = Array.from({ length: 11 }, () => step("setsid"));
    const lines = describePlan({ steps, inherit: [] });
    expect(lines[0]).toBe(" 0  setsid  # test");
    expect(lines[10]).toBe("10  setsid  # test");
  });
});
