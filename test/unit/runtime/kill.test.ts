import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { killContainer, signalProcess } from "../../../src/runtime/kill.ts";
import { processStat } from "../../../src/runtime/lifecycle.ts";
import { newRecord, StateDirectory, type StateRecord } from "../../../src/runtime/state.ts";

const root = mkdtempSync(join(tmpdir(), "tsrun-kill-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A container as a rootless one may be: no cgroup, no pid namespace. */
function withoutCgroup(id: string, child: ChildProcess): void {
  const pid = child.pid ?? 0;
  const state = new StateDirectory(root, id);
  using _lock = state.create();
  const record: Partial<StateRecord> = {
    ociVersion: "1.0.0",
    id,
    bundle: "/b",
    rootfs: "/b/rootfs",
    created: "2026-01-01T00:00:00.000000000Z",
    owner: 0,
    annotations: {},
    phase: "running",
    pid,
    startTime: processStat(pid)?.startTime ?? 0,
    cgroup: { layout: "none", paths: {}, made: [] },
    namespaces: 0,
    ownPidNamespace: false,
  };
  state.write(newRecord(record as StateRecord));
}

describe("runtime/kill of a container without a cgroup", () => {
  test.each([
    ["all", 15, { all: true }],
    ["killed", 9, {}],
  ] as const)("signals its process (%s)", async (id, signal, options) => {
    const child = spawn("sleep", ["100"]);
    await once(child, "spawn");
    withoutCgroup(id, child);
    killContainer(root, id, signal, options);
    expect((await once(child, "exit"))[1]).toBe(signal === 9 ? "SIGKILL" : "SIGTERM");
    expect(() => killContainer(root, id, signal)).toThrow("container not running");
    expect(() => killContainer(root, id, signal, { all: true })).not.toThrow();
  });
});

describe("runtime/kill of a process", () => {
  test("reaches the one that was recorded, and none that has its pid now", async () => {
    const child = spawn("sleep", ["100"]);
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    const startTime = processStat(pid)?.startTime ?? 0;
    const signal = (record: { pid: number; startTime: number }) => signalProcess(record as StateRecord, 15);
    // Whoever asks has found the container running: its process may have ended since, and its pid have gone to another.
    expect(signal({ pid, startTime: startTime - 1 })).toBe(false);
    expect(child.exitCode).toBeNull();
    expect(signal({ pid, startTime })).toBe(true);
    expect((await once(child, "exit"))[1]).toBe("SIGTERM");
    expect(signal({ pid, startTime })).toBe(false);
  });
});
