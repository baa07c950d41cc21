import { describe, expect, test } from "vitest";
import { availableCapabilities, candidates, capabilityMasks, lastValue } from "../../../src/plan/process.ts";
import type { ResolvedProcess } from "../../../src/spec/container.ts";
import type { Process } from "../../../src/spec/types.ts";
import { HOST } from "../spec/helpers.ts";
import { planOf, stepsOf } from "./helpers.ts";

const ALL = 2n ** 41n - 1n;
const [CHOWN, KILL, SYS_ADMIN] = [1n << 0n, 1n << 5n, 1n << 21n];

const withProcess =
  (change: Partial<Process>) =>
  ({ process }: { process: Process }) =>
    void Object.assign(process, change);

describe("plan/process", () => {
  test("each set of capabilities is what was asked, and ambient no more than permitted and inheritable", () => {
    const masks = capabilityMasks(
      {
        bounding: ["CAP_CHOWN", "CAP_KILL"],
        permitted: ["CAP_CHOWN"],
        effective: ["CAP_CHOWN"],
        inheritable: ["CAP_KILL", "CAP_CHOWN"],
        ambient: ["CAP_KILL", "CAP_CHOWN"],
      },
      ALL,
    );
    expect(masks).toEqual({
      bounding: CHOWN | KILL,
      permitted: CHOWN,
      effective: CHOWN,
      inheritable: KILL | CHOWN,
      ambient: CHOWN,
    });
  });

  test("capabilities that cannot be given are left out; none are given unasked", () => {
    expect(capabilityMasks({ permitted: ["CAP_CHOWN", "CAP_KILL", "CAP_NOSUCH"] }, CHOWN).permitted).toBe(CHOWN);
    expect(Object.values(capabilityMasks(undefined, ALL))).toEqual([0n, 0n, 0n, 0n, 0n]);
  });

  test("in a user namespace of its own a process can have every capability the kernel has", () => {
    const host = { ...HOST, lastCap: 40, capabilities: CHOWN };
    expect(availableCapabilities(host, false)).toBe(CHOWN);
    expect(availableCapabilities(host, true)).toBe(ALL);
  });

  test("a command is looked for along PATH, but not in empty entries of it", () => {
    const process = (args: string[], env: string[]) => ({ args, env }) as ResolvedProcess;
    expect(candidates(process(["tool"], ["PATH=/a::/b:"]))).toEqual(["/a/tool", "/b/tool"]);
    expect(candidates(process(["tool"], ["PATH=/a", "PATH=/b"]))).toEqual(["/b/tool"]);
    expect(candidates(process(["./tool"], ["PATH=/a"]))).toEqual(["./tool"]);
    expect(candidates(process(["tool"], []))[0]).toBe("/usr/local/sbin/tool");
  });

  test("the last setting of a variable is its value, and a longer name is another variable", () => {
    expect(lastValue(["A=1", "AB=2", "A=3=4"], "A")).toBe("3=4");
    expect(lastValue(["AB=2"], "A")).toBeUndefined();
  });

  test("HOME is added where there is none or an empty one", () => {
    const environment = (env: string[], home?: string) =>
      planOf({ spec: withProcess({ env }), parameters: { home } }).steps.at(-1)?.args[1];
    expect(environment(["A=1"], "/root")).toEqual(["A=1", "HOME=/root"]);
    expect(environment(["HOME=", "A=1"], "/root")).toEqual(["A=1", "HOME=/root"]);
    expect(environment(["HOME=/mine"], "/root")).toEqual(["HOME=/mine"]);
  });

  test("descriptors handed over are named in the environment", () => {
    const { steps } = planOf({ options: { listenFds: 2 }, spec: withProcess({ env: ["HOME=/"] }) });
    expect(steps.at(-1)?.args[1]).toEqual(["HOME=/", "LISTEN_FDS=2", "LISTEN_PID=1"]);
  });

  test("their names go with them, and what the config says of others does not", () => {
    const env = ["LISTEN_FDS=9", "HOME=/", "LISTEN_FDNAMES=x", "LISTEN_PID=4", "LISTEN_FDSX=1"];
    const listening = planOf({ options: { listenFds: 2, listenFdNames: "web:api" }, spec: withProcess({ env }) });
    expect(listening.steps.at(-1)?.args[1]).toEqual([
      "HOME=/",
      "LISTEN_FDSX=1",
      "LISTEN_FDS=2",
      "LISTEN_PID=1",
      "LISTEN_FDNAMES=web:api",
    ]);
    expect(planOf({ spec: withProcess({ env }) }).steps.at(-1)?.args[1]).toEqual(env);
  });

  test("limits keep the whole of 64 bits, and 2^64 as JSON rounds it is no limit", () => {
    const rlimits = [
      { type: "RLIMIT_NOFILE", soft: 1, hard: 2 ** 64 },
      { type: "RLIMIT_CORE", soft: 0, hard: 2 ** 40 },
    ];
    const { steps } = planOf({ spec: withProcess({ rlimits }) });
    expect(steps.filter(({ op }) => op === "rlimit").map(({ args }) => args)).toEqual([
      [7, 1n, 0xffffffffffffffffn],
      [4, 0n, 2n ** 40n],
    ]);
  });

  test("umask is 0022 when nothing is said", () => {
    expect(stepsOf({})).toContain("umask 0022");
    expect(stepsOf({ spec: withProcess({ user: { uid: 0, gid: 0, umask: 0 } }) })).toContain("umask 0000");
  });

  test("no_new_privs, bounding set, user and capabilities come in this order, then the search for the command", () => {
    const ops = planOf({ spec: withProcess({ noNewPrivileges: true }) }).steps.map(({ op }) => op);
    const order = [
      "noNewPrivs",
      "boundingSet",
      "user",
      "capabilities",
      "chdir",
      "findExecutable",
      "await",
      "cloexecFrom",
      "exec",
    ] as const;
    const places = order.map((op) => ops.lastIndexOf(op));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
  });

  const seccomp = { flags: 0, program: new Uint8Array(16) };

  test("a seccomp filter is loaded last of all, and with no_new_privs needs no capability", () => {
    const ops = planOf({ spec: withProcess({ noNewPrivileges: true }), parameters: { seccomp } }).steps.map(
      ({ op }) => op,
    );
    expect(ops.slice(-2)).toEqual(["seccomp", "exec"]);
    expect(ops.filter((op) => op === "capabilities")).toHaveLength(1);
  });

  test("without no_new_privs CAP_SYS_ADMIN is kept for the filter and dropped after it", () => {
    const { steps } = planOf({
      spec: withProcess({
        noNewPrivileges: false,
        capabilities: { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"] },
      }),
      parameters: { seccomp },
    });
    const tail = steps.slice(-4);
    expect(tail.map(({ op }) => op)).toEqual(["capabilities", "seccomp", "capabilities", "exec"]);
    expect(BigInt(tail[0]?.args[0] as bigint) & SYS_ADMIN).toBe(SYS_ADMIN);
    expect(tail[2]?.args.slice(0, 2)).toEqual([KILL, KILL]);
  });

  test("descriptors from the first that is not the process's are closed by the exec", () => {
    expect(stepsOf({ options: { preserveFds: 2 } })).toContain("close_range 5 at exec");
  });
});
