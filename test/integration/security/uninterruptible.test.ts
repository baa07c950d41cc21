/**
 * A process that SIGKILL does not end: in uninterruptible sleep (state D), as one is that waits for a disk or a network
 * file system which does not answer. Here it writes to a file system that fsfreeze(8) has frozen. Every verb ends in
 * bounded time and says which process it is; what could not be removed is still known, and removed once it can be.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { runDetached, startContainer } from "../../helpers/container.ts";
import { makeDisk, noDisk } from "../../helpers/disk.ts";
import { missing } from "../../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  type Result,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { unitProperty } from "../../helpers/systemd.ts";

const MKFS = ["mkfs.ext4", "-q", "-F"];
const COMMANDS = ["mkfs.ext4", "fsfreeze"];

function frozen(name: string, body: () => Promise<void>, systemd = false): void {
  const reason = missing({ root: true, tsrun: true, commands: COMMANDS, systemd }) ?? noDisk(MKFS, "rw");
  if (reason === undefined) test(name, body, 240_000);
  else test.skip(`${name} (skipped: ${reason})`, () => {});
}

/** What a verb may take: 10 s for a process to die, twice 2 s for its cgroup, and as much again. */
const BOUND_MS = 25_000;

interface Ice {
  path: string;
  thaw(): Promise<void>;
}

/** A file system that nobody can write to until it is thawed, which happens at the latest when this process has ended. */
async function withIce(body: (ice: Ice) => Promise<void>): Promise<void> {
  const disk = makeDisk(MKFS, "rw");
  const script = 'fsfreeze -f "$1" && echo frozen && read -r _; fsfreeze -u "$1"';
  const freezer = spawn(["-c", script, "sh", disk.path], { runtime: "/bin/sh" });
  const thaw = async () => {
    freezer.child.stdin?.end();
    await freezer.exit;
  };
  try {
    await freezer.waitFor("frozen");
    await body({ path: disk.path, thaw });
  } finally {
    await thaw();
    disk.unmount();
  }
}

function bundle(ice: Ice, script: string, ownPids = true, annotations: Record<string, string> = {}): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    mounts: [{ destination: "/ice", source: ice.path, type: "bind", options: ["bind", "rw"] }],
    edit: (spec) => {
      spec.annotations = annotations;
      if (!ownPids) spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
    },
  });
}

/** Waits until a process of the container sleeps so. @returns its pid */
async function untilAsleep(id: string): Promise<number> {
  let found: number | undefined;
  await until(() => {
    const pids: number[] = JSON.parse(runOk(["ps", "-f", "json", id]));
    found = pids.find((pid) => /\) D /.test(readFileSync(`/proc/${pid}/stat`, "utf8")));
    return found !== undefined;
  }, "a process is in state D");
  return found as number;
}

function timed(args: readonly string[]): Result {
  const began = Date.now();
  const result = run(args, { timeoutMs: 2 * BOUND_MS });
  expect(Date.now() - began, args.join(" ")).toBeLessThan(BOUND_MS);
  return result;
}

interface Case {
  name: string;
  script: string;
  ownPids?: false;
  /** What it is once SIGKILL was sent: the first process ends after all others of its pid namespace, and only then. */
  left: "running" | "stopped";
}

const BESIDE = "(echo x >/ice/file) & exec sleep 3600";
const CASES: Case[] = [
  { name: "the first one", script: "echo x >/ice/file", left: "running" },
  { name: "one beside the first", script: BESIDE, left: "running" },
  { name: "one beside the first, without a pid namespace", script: BESIDE, ownPids: false, left: "stopped" },
];
describe("a process in uninterruptible sleep", () => {
  for (const one of CASES) {
    frozen(`${one.name}: every verb answers, delete --force names it, and the next one removes all`, async () => {
      const before = inventory();
      await withIce((ice) => everyVerb(one, startContainer(bundle(ice, one.script, one.ownPids)).id, ice));
      expectNothingLeft(before);
    });

    const name = `${one.name}, in a unit of systemd: the same, and the unit is not given up meanwhile`;
    frozen(name, () => inUnit(one), true);
  }

  frozen(
    "in a unit that systemd has given up: the cgroup is known all the same, and removed once it can be",
    async () => {
      const before = inventory();
      await withIce(async (ice) => {
        const id = startInUnit(bundle(ice, BESIDE, false, { "org.systemd.property.TimeoutStopSec": "1" }));
        const pid = await untilAsleep(id);
        spawnSync("systemctl", ["stop", unitOf(id)]);
        // It may stay loaded, as failed, for as long as there is a process in it.
        await until(() => unitProperty(unitOf(id), "ActiveState") !== "deactivating", "systemd gives it up");
        expect(unitProperty(unitOf(id), "ActiveState")).not.toBe("active");
        const left = expect.stringContaining(`1 process(es) left: ${pid}`);
        expect(timed(["delete", "--force", id])).toMatchObject({ code: 1, stderr: left });
        expect(stateOf(id)?.status).toBe("stopped");
        await ice.thaw();
        await until(() => processesNamed(id).length === 0, "it ends");
        expect(timed(["delete", "--force", id])).toMatchObject({ code: 0, stderr: "" });
      });
      expectNothingLeft(before);
    },
    true,
  );
});

const unitOf = (id: string) => `tsrun-${id}.scope`;

/** @returns the id */
function startInUnit({ path }: Bundle): string {
  const id = newId();
  const { code, stderr } = runDetached(["--systemd-cgroup", "run", "-d", "-b", path, id]);
  expect({ code, stderr: stderr() }).toEqual({ code: 0, stderr: "" });
  return id;
}

async function inUnit(one: Case): Promise<void> {
  const before = inventory();
  await withIce(async (ice) => {
    const id = startInUnit(bundle(ice, one.script, one.ownPids));
    await everyVerb(one, id, ice, () => expect(unitProperty(unitOf(id), "ActiveState")).toBe("active"));
    expect(unitProperty(unitOf(id), "LoadState")).toBe("not-found");
  });
  expectNothingLeft(before);
}

async function everyVerb({ left }: Case, id: string, ice: Ice, meanwhile = () => {}): Promise<void> {
  const pid = await untilAsleep(id);
  const words = (verb: string) => expect.stringMatching(new RegExp(`^tsrun: ${verb} ${id}: [^]*\\b${pid}\\b`));
  const seen = (status: string) => {
    expect(JSON.parse(timed(["state", id]).stdout).status).toBe(status);
    expect(timed(["list", "-q"]).stdout).toContain(id);
  };
  seen("running");
  expect(timed(["ps", id])).toMatchObject({ code: 0, stdout: expect.stringContaining(String(pid)) });
  expect(timed(["exec", id, "echo", "well"])).toMatchObject({ code: 0, stdout: "well\n" });
  expect(timed(["update", "--pids-limit", "50", id])).toMatchObject({ code: 0, stderr: "" });
  // Whether such a process counts as frozen is the kernel's affair: v1 asks once it wakes.
  const paused = timed(["pause", id]);
  if (paused.code === 0) expect(timed(["resume", id])).toMatchObject({ code: 0, stderr: "" });
  else expect(paused.stderr).toMatch(/does not freeze: a process in it is in uninterruptible sleep/);
  seen("running");

  expect(timed(["kill", id, "KILL"])).toMatchObject({ code: 0, stderr: "" });
  expect(timed(["kill", "--all", id, "KILL"])).toMatchObject({ code: 0, stderr: "" });
  expect(timed(["delete", id])).toMatchObject({
    code: 1,
    stderr: left === "stopped" ? words("delete") : expect.stringContaining("that is not stopped: running"),
  });
  expect(timed(["delete", "--force", id])).toMatchObject({ code: 1, stderr: words("delete") });
  seen(left);
  meanwhile();

  await ice.thaw();
  await until(() => processesNamed(id).length === 0, "it ends");
  expect(timed(["delete", "--force", id])).toMatchObject({ code: 0, stderr: "" });
  expect(stateOf(id)).toBeUndefined();
}
