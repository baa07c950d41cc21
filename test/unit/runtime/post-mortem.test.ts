import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import { zombieStatus } from "../../../src/runtime/lifecycle.ts";
import { decodeStatus, encodeStatus, parseExit } from "../../../src/runtime/post-mortem.ts";
import { closeQuiet } from "../../../src/sys/file.ts";
import { pidfdExitStatus, pidfdOpen } from "../../../src/sys/process.ts";
import { needs } from "../../helpers/needs.ts";

const V2 = { layout: "v2", paths: { "": "/u/a" }, made: ["/u/a"] } as const;
const cgroup = { ...V2, paths: { ...V2.paths }, made: [...V2.made] };

describe("runtime/post-mortem", () => {
  test("a status of wait(2) is a code, or a signal with or without a core dump", () => {
    expect(decodeStatus(0)).toEqual({ exitCode: 0 });
    expect(decodeStatus(7 << 8)).toEqual({ exitCode: 7 });
    expect(decodeStatus(255 << 8)).toEqual({ exitCode: 255 });
    expect(decodeStatus(9)).toEqual({ exitCode: 137, signal: "SIGKILL", coreDumped: false });
    expect(decodeStatus(11 | 0x80)).toEqual({ exitCode: 139, signal: "SIGSEGV", coreDumped: true });
    expect(decodeStatus(36)).toEqual({ exitCode: 164, signal: "SIGRTMIN+2", coreDumped: false });
  });

  test("what waitid(2) tells is encoded as wait(2) has it", () => {
    const pid = 1;
    expect(encodeStatus({ pid, kind: "exited", exitCode: 3, signal: 0, coreDumped: false })).toBe(0x300);
    expect(encodeStatus({ pid, kind: "signaled", exitCode: 139, signal: 11, coreDumped: true })).toBe(0x8b);
  });

  test("a kept record has the status and the figures of the cgroup", () => {
    expect(parseExit("1792\0oom_kill 1\n\x004096\n\0\0", cgroup)).toEqual({
      status: 1792,
      figures: { oomKills: 1, memoryPeak: 4096 },
    });
    expect(parseExit("-1\0\0\0\0", cgroup)).toEqual({ status: undefined, figures: {} });
    expect(parseExit("9\0", undefined)).toEqual({ status: 9, figures: {} });
  });

  test("one that is half-written, or still empty, is none", () => {
    expect(parseExit("", cgroup)).toBeUndefined();
    expect(parseExit("1792\0oom_kill 1", cgroup)).toBeUndefined();
    expect(parseExit("1792\0oom_kill 1\n\x004096\n\0", cgroup)).toBeUndefined();
    expect(parseExit("", undefined)).toBeUndefined();
  });

  needs({ kernel: [6, 15] })("who holds a pidfd learns the status after somebody else has collected it", async () => {
    for (const [script, status] of [
      ["read line; exit 5", 5 << 8],
      ["read line; kill -TERM $$", 15],
    ] as const) {
      const child = spawn("sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"] });
      const pidFd = pidfdOpen(child.pid as number);
      try {
        expect(pidfdExitStatus(pidFd)).toBeUndefined();
        const exit = new Promise((resolve) => child.once("exit", resolve));
        child.stdin.end("\n");
        await exit;
        expect(pidfdExitStatus(pidFd)).toBe(status);
      } finally {
        closeQuiet(pidFd);
      }
    }
  });

  test("no zombie has no status", () => {
    expect(zombieStatus(process.pid, 0)).toBeUndefined();
    expect(zombieStatus(2 ** 22, 0)).toBeUndefined();
  });
});
