import { describe, expect, test } from "vitest";
import { encodePlan } from "../../../src/init/encode.ts";
import { encodeMonitor } from "../../../src/init/monitor.ts";
import { OPS, type OpName, type Step, type StepArg } from "../../../src/plan/step.ts";

const number = (op: OpName) => Object.keys(OPS).indexOf(op);
const encode = (...steps: [OpName, ...StepArg[]][]) =>
  new TextDecoder("latin1").decode(
    encodePlan({ steps: steps.map(([op, ...args]): Step => ({ op, args, about: "" })), inherit: [] }),
  );

describe("init/encode", () => {
  test("a plan is its magic and then each step: the operation's number and its arguments, each with NUL at its end", () => {
    expect(encode(["open", 7, "/etc", 0x200000, 0], ["setsid"])).toBe(
      `tsrun1\0${number("open")}\x007\0/etc\x002097152\x000\0${number("setsid")}\0`,
    );
  });

  test("a list is its length and its strings, and an empty one its length alone", () => {
    expect(encode(["exec", ["sh", "-c", ""], []])).toBe(`tsrun1\0${number("exec")}\x003\0sh\0-c\0\x000\0`);
  });

  test("bytes are their length and themselves, NULs and all", () => {
    expect(encode(["seccomp", 0, new Uint8Array([0, 1, 0, 255])], ["setsid"])).toBe(
      `tsrun1\0${number("seccomp")}\x000\x004\0\0\x01\0\xff${number("setsid")}\0`,
    );
  });

  test("numbers keep 64 bits, below zero too", () => {
    expect(encode(["rlimit", 7, 0xffffffffffffffffn, 2n ** 40n])).toContain("18446744073709551615\x001099511627776\0");
    expect(encode(["fchown", 0, 5, -1])).toContain("\x005\0-1\0");
  });

  test("text is UTF-8", () => {
    expect(encode(["sethostname", "ü"])).toBe(`tsrun1\0${number("sethostname")}\0\xc3\xbc\0`);
  });
});

describe("init/monitor", () => {
  test("the monitor is told its process, its descriptors and what to take away, in order", () => {
    const text = encodeMonitor({
      pid: 42,
      pidFd: 5,
      master: -1,
      cleanup: [
        { op: "c", path: "/sys/fs/cgroup/x" },
        { op: "r", path: "/run/tsrun/x" },
      ],
    });
    expect(text.split("\0").slice(0, 4)).toEqual(["tsrunm1", "42", "5", "-1"]);
    expect(text.endsWith("c\0/sys/fs/cgroup/x\0r\0/run/tsrun/x\0")).toBe(true);
  });

  test("the witness of the end comes after the sockets of readiness", () => {
    const request = { pid: 42, pidFd: 5, master: -1, cleanup: [{ op: "r", path: "/x" }] } as const;
    const witness = { socket: 8, record: 9 };
    const encoded = (more: object) => encodeMonitor({ ...request, ...more });
    const rest = "8\x009\0r\0/x\0";
    expect(encoded({ witness })).toBe(`tsrunm1\x0042\x005\0-1\x008\0${rest}`);
    expect(encoded({ witness, notify: { socket: 6, host: 7 } })).toBe(
      `tsrunm1\x0042\x005\0-1\x0012\x006\x007\0${rest}`,
    );
  });
});
