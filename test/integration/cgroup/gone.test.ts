/** How a container ended whose cgroup systemd has removed: what the monitor was in time for, and what the kernel's log tells. */
import { type ChildProcess, spawn as spawnChild, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runOk, spawn, stateDirectory, stateOf, until } from "../../helpers/runtime.ts";

const MEGABYTE = 2 ** 20;
const FLAG = "--systemd-cgroup";
const inSystemd = needs({
  root: true,
  tsrun: true,
  systemd: true,
  cgroup: ["v1", "v2"],
  controllers: ["memory", "cpu"],
  commands: ["unshare"],
  files: ["/dev/kmsg"],
});

const ids: string[] = [];
afterEach(() => {
  for (const id of ids.splice(0)) run(["delete", "--force", id]);
});

const exitOf = (id: string) => JSON.parse(runOk(["state", id])).exit;

function nextId(): string {
  const id = newId();
  ids.push(id);
  return id;
}

function bundleOf(script: string) {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      const memory = { limit: 24 * MEGABYTE, swap: 24 * MEGABYTE };
      spec.linux.resources = { ...spec.linux.resources, memory };
    },
  });
}

/** A detached container, and how to wait for its end without asking tsrun. */
function created(script: string): { id: string; ended(): Promise<void> } {
  const id = nextId();
  const made = runDetached([FLAG, "create", "-b", bundleOf(script).path, id]);
  expect(made.stderr()).toBe("");
  const pid = stateOf(id)?.pid;
  return { id, ended: () => until(() => !existsSync(`/proc/${pid}`), "it ends", 30_000) };
}

/** The state, from a mount namespace in which another file lies over the kernel's log. */
function exitWithoutLog(id: string): object | undefined {
  const script = `mount --bind /dev/null /dev/kmsg && exec ${RUNTIME} state ${id}`;
  const { stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout).exit;
}

describe("a cgroup that has gone with its last process", () => {
  const hogs: ChildProcess[] = [];
  beforeAll(() => {
    for (let count = 0; count < 1; count++) hogs.push(spawnChild("sh", ["-c", "while :; do :; done"]));
  });
  afterAll(() => {
    for (const hog of hogs) hog.kill("SIGKILL");
  });

  inSystemd("in the foreground, on a busy machine, a kill for want of memory is known each time", () => {
    for (let round = 0; round < 3; round++) {
      const id = nextId();
      expect(run([FLAG, "run", "--keep", "-b", bundleOf("exec tail /dev/zero").path, id]).code).toBe(137);
      expect(exitOf(id)).toMatchObject({ exitCode: 137, signal: "SIGKILL", oomKilled: true, oomKills: 1 });
    }
  });

  inSystemd("the monitor holds the files of the cgroup from the beginning", async () => {
    const id = nextId();
    const container = spawn([FLAG, "run", "--keep", "-b", bundleOf("read go; exit 3").path, id]);
    await until(() => stateOf(id)?.status === "running", "it runs");
    container.child.stdin?.write("go\n");
    expect((await container.exit).code).toBe(3);
    expect(exitOf(id)).toMatchObject({ exitCode: 3, oomKilled: false, oomKills: 0 });
  });

  inSystemd("of a detached container the log tells, once: what it said is kept", async () => {
    const { id, ended } = created("exec tail /dev/zero");
    runOk(["start", id]);
    await ended();
    expect(exitWithoutLog(id) ?? {}).not.toHaveProperty("oomKilled");
    expect(exitOf(id)).toMatchObject({ oomKilled: true, oomKills: 1 });
    expect(readFileSync(join(stateDirectory(id), "exit"), "utf8")).toMatch(/^-?\d+\0oom_kill 1\n\0/);
    expect(exitWithoutLog(id)).toMatchObject({ oomKilled: true, oomKills: 1 });
  });

  inSystemd("a process that is not the first counts too, and a kill elsewhere does not", async () => {
    const hit = created("tail /dev/zero; tail /dev/zero; exit 0");
    const beside = created("exec sleep 3600");
    for (const { id } of [beside, hit]) runOk(["start", id]);
    await hit.ended();
    runOk(["kill", beside.id, "KILL"]);
    await beside.ended();
    expect(exitOf(hit.id)).toMatchObject({ oomKilled: true, oomKills: 2 });
    expect(exitOf(beside.id)).toMatchObject({ oomKilled: false, oomKills: 0 });
    // One of the same name, and so of the same cgroup, that came later.
    runOk(["delete", hit.id]);
    const { path } = bundleOf("exit 0");
    expect(runDetached([FLAG, "run", "-d", "-b", path, hit.id]).code).toBe(0);
    await until(() => stateOf(hit.id)?.status === "stopped", "it ends");
    expect(exitOf(hit.id)).toMatchObject({ oomKilled: false, oomKills: 0 });
  });

  inSystemd("nobody killed anywhere is known without the log", async () => {
    const { id, ended } = created("exit 0");
    runOk(["start", id]);
    await ended();
    expect(exitWithoutLog(id)).toMatchObject({ oomKilled: false, oomKills: 0 });
  });
});
