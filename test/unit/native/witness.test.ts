/** Who sees a cgroup to its end. Regular files stand for a cgroup's: they are as those of v1, which tell no news. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startWitness } from "../../../src/init/witness.ts";
import { POLLIN } from "../../../src/sys/constants.ts";
import { closeQuiet, write } from "../../../src/sys/file.ts";
import { pidfdOpen, pollFd } from "../../../src/sys/process.ts";
import { initBinary } from "../../helpers/native.ts";

let dir: string;
let container: ChildProcess;
let record: number;
let pidFd: number;
const sockets: number[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tsrun-witness-"));
  container = spawn("sleep", ["60"]);
  pidFd = pidfdOpen(container.pid as number);
  record = openSync(join(dir, "record"), "w+");
});

afterEach(() => {
  container.kill("SIGKILL");
  for (const fd of [pidFd, ...sockets.splice(0)]) closeQuiet(fd);
  closeSync(record);
  rmSync(dir, { recursive: true });
});

/** @returns a socket to it */
function start(files: Record<string, string>, news?: string): number {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  if (news !== undefined) writeFileSync(join(dir, "events"), news);
  const socket = startWitness({
    pidFd,
    recordFd: record,
    news: news === undefined ? "" : join(dir, "events"),
    files: [...Object.keys(files).map((name) => join(dir, name)), join(dir, "none")],
  });
  sockets.push(socket);
  return socket;
}

/** The pid of the one that is there. */
function witness(): string | undefined {
  return readdirSync("/proc").find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8") === `tsrun-witness\0\0${dir}/kills\0${dir}/none\0`;
    } catch {
      return false;
    }
  });
}

/** It says nothing: the end of the socket is its own. */
const ended = (socket: number) => pollFd(socket, POLLIN, 10_000) !== 0;
const recorded = () => readFileSync(join(dir, "record"), "utf8");

describe("native/witness", () => {
  test("what the files hold when the container ends is written, though they are gone by name; a long one in part", () => {
    const socket = start({ kills: "oom_kill 0\n", long: "x".repeat(5000) });
    writeFileSync(join(dir, "kills"), "oom_kill 1\n");
    rmSync(join(dir, "kills"));
    expect(recorded()).toBe("");
    container.kill("SIGKILL");
    expect(ended(socket)).toBe(true);
    expect(recorded()).toBe(`-1\0oom_kill 1\n\0${"x".repeat(512)}\0\0`);
  });

  test("where there is news of processes that are left, it waits for them, until it is told not to", () => {
    const socket = start({ kills: "oom_kill 3\n" }, "populated 1\nfrozen 0\n");
    container.kill("SIGKILL");
    expect(pollFd(socket, POLLIN, 100)).toBe(0);
    write(socket, "e");
    expect(ended(socket)).toBe(true);
    expect(recorded()).toBe("-1\0oom_kill 3\n\0\0");
  });

  test("a cgroup that is empty by the end of the container is not waited for", () => {
    const socket = start({ kills: "oom_kill 4\n" }, "populated 0\nfrozen 0\n");
    expect(recorded()).toBe("");
    container.kill("SIGKILL");
    expect(ended(socket)).toBe(true);
    expect(recorded()).toBe("-1\0oom_kill 4\n\0\0");
  });

  test("nothing is written where nothing is known, or somebody else has written", () => {
    const empty = start({});
    container.kill("SIGKILL");
    expect(ended(empty)).toBe(true);
    expect(recorded()).toBe("");
    writeFileSync(join(dir, "record"), "9\0");
    expect(ended(start({ kills: "oom_kill 1\n" }))).toBe(true);
    expect(recorded()).toBe("9\0");
  });

  test("signals end it when nobody waits for it, and not before", async () => {
    const socket = start({ kills: "oom_kill 0\n" });
    const pid = Number(witness());
    process.kill(pid, "SIGTERM");
    process.kill(pid, "SIGHUP");
    expect(pollFd(socket, POLLIN, 100)).toBe(0);
    const end = pidfdOpen(pid);
    sockets.push(end);
    closeQuiet(sockets.shift());
    expect(pollFd(end, POLLIN, 10_000)).toBe(POLLIN);
    expect(recorded()).toBe("");
  });

  test("it is nobody's child, in a session of its own, and holds nothing but what it was given", () => {
    start({ kills: "oom_kill 0\n" });
    const pid = witness();
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/.*\) /, "").split(" ");
    expect(fields[1]).not.toBe(String(process.pid));
    expect(fields[3]).toBe(pid);
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
    const held = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    expect(held.filter((path) => !/^(socket|anon_inode):/.test(path)).sort()).toEqual([
      join(dir, "kills"),
      join(dir, "record"),
    ]);
    expect(held).toHaveLength(4);
  });

  test("what it cannot read it refuses", () => {
    const refused = (...args: string[]) => spawnSync(initBinary(), args, { argv0: "tsrun-witness" }).status;
    expect(refused()).toBe(2);
    expect(refused("")).toBe(2);
    expect(refused("", ...Array.from({ length: 6 }, () => "x"))).toBe(2);
  });
});
