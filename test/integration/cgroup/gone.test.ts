/** How a container ended whose cgroup systemd has removed: what its witness has seen, and what the kernel's log tells. */
import { type ChildProcess, spawn as spawnChild, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { cgroupLayout, needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runOk, spawn, stateDirectory, stateOf, until } from "../../helpers/runtime.ts";

const MEGABYTE = 2 ** 20;
const ROUNDS = 4;
/** Of an emulated machine the host may take a processor away for longer than systemd needs. */
const LOST = process.env.TSRUN_VM ? 1 : 0;
const FLAG = "--systemd-cgroup";
const wanted = {
  root: true,
  tsrun: true,
  systemd: true,
  controllers: ["memory", "cpu"],
  commands: ["unshare"],
  files: ["/dev/kmsg"],
};
const inSystemd = needs({ ...wanted, cgroup: ["v1", "v2"] });
const onV2 = needs({ ...wanted, cgroup: ["hybrid", "v2"] });

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
      const cpu = { quota: 5_000, period: 10_000 };
      spec.linux.resources = { ...spec.linux.resources, memory, cpu };
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

/** The process that sees the container's cgroup to its end. */
function witnessOf(id: string): number | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const commandOf = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    } catch {
      return "";
    }
  };
  const pid = pids.find((name) => {
    const command = commandOf(name);
    return command.startsWith("tsrun-witness\0") && command.includes(`tsrun-${id}.scope/`);
  });
  return pid === undefined ? undefined : Number(pid);
}

/** As when the service is stopped that has made the container. */
async function loseWitness(id: string): Promise<void> {
  const pid = witnessOf(id);
  process.kill(pid as number, "SIGTERM");
  await until(() => witnessOf(id) === undefined, "the witness ends");
}

/**
 * Is throttled, and has had three megabytes. On v1 what is throttled on its way out is out of its cgroup before it has
 * ended, and the witness may be too late: there it has its share of time again.
 */
const BUSY = `head -c 3m /dev/zero | tail >/dev/null; i=0; while [ $i -lt 100 ]; do i=$((i+1)); done${
  cgroupLayout() === "v1" ? "; sleep 0.3" : ""
}`;

/** @returns is anything missing? What is said must be right. */
function isLost(exit: Record<string, unknown>): boolean {
  expect(exit).toMatchObject({ oomKilled: false, oomKills: 0 });
  const { memoryPeak, cpu } = exit as { memoryPeak?: number; cpu?: { usage: { total: number }; throttling: object } };
  if (memoryPeak !== undefined) expect(memoryPeak).toBeGreaterThan(2 * MEGABYTE);
  if (cpu !== undefined) expect(cpu.usage.total).toBeGreaterThan(0);
  const { periods } = (cpu?.throttling ?? {}) as { periods?: number };
  if (periods !== undefined) expect(periods).toBeGreaterThan(0);
  return memoryPeak === undefined || periods === undefined;
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
    hogs.push(spawnChild("sh", ["-c", "while :; do :; done"]));
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

  inSystemd("in the foreground the figures are known each time", () => {
    let lost = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const id = nextId();
      expect(run([FLAG, "run", "--keep", "-b", bundleOf(BUSY).path, id]).code).toBe(0);
      if (isLost(exitOf(id))) lost++;
    }
    expect(lost).toBeLessThanOrEqual(LOST);
  });

  inSystemd("detached, too, and the witness is gone then", async () => {
    let lost = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { id, ended } = created(BUSY);
      runOk(["start", id]);
      await ended();
      if (isLost(exitOf(id))) lost++;
      expect(witnessOf(id)).toBeUndefined();
    }
    expect(lost).toBeLessThanOrEqual(LOST);
  });

  onV2("processes that outlive the first one are counted to the end", async () => {
    const id = nextId();
    const { path } = makeBundle({
      args: ["sh", "-c", "sleep 2 && head -c 3m /dev/zero | tail >/dev/null & exit 0"],
      edit: (spec) => {
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
      },
    });
    expect(runDetached([FLAG, "run", "-d", "-b", path, id]).stderr()).toBe("");
    await until(() => stateOf(id)?.status === "stopped", "the first process ends");
    expect(exitOf(id).memoryPeak).toBeLessThan(2 * MEGABYTE);
    await until(() => witnessOf(id) === undefined, "the others end", 30_000);
    expect(exitOf(id).memoryPeak).toBeGreaterThan(2 * MEGABYTE);
  });

  inSystemd("the files of the cgroup are open from the beginning", async () => {
    const id = nextId();
    const container = spawn([FLAG, "run", "--keep", "-b", bundleOf("read go; exit 3").path, id]);
    await until(() => stateOf(id)?.status === "running", "it runs");
    container.child.stdin?.write("go\n");
    expect((await container.exit).code).toBe(3);
    expect(exitOf(id)).toMatchObject({ exitCode: 3, oomKilled: false, oomKills: 0 });
  });

  inSystemd(
    "where the witness was lost the log tells of kills, once: what it said is kept; of the rest nothing is said",
    async () => {
      const { id, ended } = created("exec tail /dev/zero");
      await loseWitness(id);
      runOk(["start", id]);
      await ended();
      expect(exitWithoutLog(id) ?? {}).not.toHaveProperty("oomKilled");
      expect(exitOf(id)).toMatchObject({ oomKilled: true, oomKills: 1 });
      for (const figure of ["memoryPeak", "cpu"]) expect(exitOf(id)).not.toHaveProperty(figure);
      expect(readFileSync(join(stateDirectory(id), "exit"), "utf8")).toMatch(/^-?\d+\0oom_kill 1\n\0/);
      expect(exitWithoutLog(id)).toMatchObject({ oomKilled: true, oomKills: 1 });
    },
  );

  inSystemd("a process that is not the first counts too, and a kill elsewhere does not", async () => {
    const hit = created("tail /dev/zero; tail /dev/zero; exit 0");
    const beside = created("exec sleep 3600");
    for (const { id } of [beside, hit]) {
      await loseWitness(id);
      runOk(["start", id]);
    }
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
    await loseWitness(id);
    runOk(["start", id]);
    await ended();
    expect(exitWithoutLog(id)).toMatchObject({ oomKilled: false, oomKills: 0 });
  });
});
