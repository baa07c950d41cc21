import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { isAlive, processStat, statusOf, zombieStatus } from "../../../src/runtime/lifecycle.ts";
import type { StateRecord } from "../../../src/runtime/state.ts";

const own = processStat(process.pid)?.startTime as number;
const record = (change: Partial<StateRecord>) => ({ pid: process.pid, startTime: own, ...change }) as StateRecord;

test("a process that started at another time is another process", () => {
  expect(isAlive(process.pid, own)).toBe(true);
  expect(isAlive(process.pid, own + 1)).toBe(false);
  expect(isAlive(2 ** 22 + 1, own)).toBe(false);
});

test("a process whose name has blanks and parentheses is read right", async () => {
  const child = spawn("sh", ["-c", "printf ') Z 1 (' > /proc/self/comm; echo; read line"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const stat = processStat(child.pid as number);
  expect(stat?.state).toMatch(/^[RSD]$/);
  expect(stat?.startTime).toBeGreaterThanOrEqual(own);
  child.stdin.end();
  await new Promise((resolve) => child.once("exit", resolve));
});

/** Its first thread ends by exit(2), which is 60 or 93, and another one goes on. */
const THREADS = `
import ctypes, platform, sys, threading
threading.Thread(target=sys.stdin.read).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)`;

test.skipIf(!existsSync("/usr/bin/python3"))(
  "a process whose first thread has ended lives on in the others",
  async () => {
    const child = spawn("/usr/bin/python3", ["-c", THREADS], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const pid = child.pid as number;
    await expect.poll(() => processStat(pid)?.state).toBe("Z");
    const startTime = processStat(pid)?.startTime as number;
    expect(statusOf(record({ pid, startTime, phase: "running" }))).toBe("running");
    expect(zombieStatus(pid, startTime)).toBeUndefined();
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(isAlive(pid, startTime)).toBe(false);
  },
);

test("the status is how far the making got, while the process lives", () => {
  expect(statusOf(record({ phase: "created" }))).toBe("created");
  expect(statusOf(record({ phase: "running" }))).toBe("running");
  expect(statusOf(record({ phase: "creating" }))).toBe("creating");
});

test("without its process it is stopped, but being created before there is one", () => {
  for (const phase of ["creating", "created", "running"] as const) {
    expect(statusOf(record({ phase, startTime: own + 1 }))).toBe("stopped");
  }
  expect(statusOf(record({ phase: "creating", pid: 0 }))).toBe("creating");
  expect(statusOf(record({ phase: "running", pid: 0 }))).toBe("stopped");
});
