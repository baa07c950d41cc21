/**
 * What the caller names is in trouble: the disk of the log or of the pid file is full or read-only, who listens at the
 * console socket does not answer; and the container's process is killed at odd moments.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { createContainer, runDetached, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  cgroupsNamed,
  expectNothingLeft,
  inventory,
  newId,
  RUNTIME,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true });

/** A tmpfs without room, for the time of a test. */
async function withFullDisk(body: (path: string) => unknown): Promise<void> {
  const path = scratch("full");
  expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", path]).status).toBe(0);
  try {
    spawnSync("dd", ["if=/dev/zero", `of=${join(path, "full")}`, "bs=4k"], { stdio: "ignore" });
    await body(path);
  } finally {
    spawnSync("umount", ["-l", path]);
  }
}

/** Its config has a warning for the log. */
const warning = () =>
  sleepingBundle({
    edit: (spec) => {
      spec.process.capabilities = { ...spec.process.capabilities, bounding: ["CAP_NO_SUCH_THING"] };
    },
  });

describe("a log that cannot be written", () => {
  const verbs = (log: string, said: RegExp) => {
    const flags = ["--log", log, "--log-format", "json"];
    const id = newId();
    const created = runDetached([...flags, "run", "-d", "-b", warning().path, id]);
    expect({ code: created.code, stderr: created.stderr() }).toEqual({ code: 0, stderr: expect.stringMatching(said) });
    // What it would have told of is not lost.
    expect(created.stderr()).toContain("CAP_NO_SUCH_THING");
    expect(JSON.parse(runOk([...flags, "state", id])).status).toBe("running");
    expect(run([...flags, "exec", id, "sh", "-c", "exit 3"]).code).toBe(3);
    const failed = run([...flags, "start", id]);
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot start/) });
    expect(failed.stderr).toMatch(said);
    expect(run([...flags, "delete", "--force", id]).code).toBe(0);
  };

  root("as its disk is full: every verb does its work and tells standard error", async () => {
    const before = inventory();
    await withFullDisk((path) => verbs(join(path, "log"), /write the log .*: ENOSPC/));
    expectNothingLeft(before);
  });

  root("as its disk is read-only: the same", async () => {
    const before = inventory();
    await withFullDisk((path) => {
      spawnSync("mount", ["-o", "remount,ro", path]);
      verbs(join(path, "log"), /write the log .*: EROFS/);
    });
    expectNothingLeft(before);
  });

  root("as its directory is missing: a mistake of the caller, who is told before anything is done", () => {
    const before = inventory();
    const result = run(["--log", "/nowhere/log", "run", "-b", warning().path, newId()]);
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/write the log .*: ENOENT/) });
    expectNothingLeft(before);
  });
});

describe("a directory of states without room", () => {
  root("is emptied by delete, also while somebody waits for the end", async () => {
    const before = inventory();
    const states = scratch("states");
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=200k", "tmpfs", states]).status).toBe(0);
    const id = newId();
    const made = runDetached(["--root", states, "run", "-d", "-b", sleepingBundle().path, id]);
    expect({ code: made.code, stderr: made.stderr() }).toEqual({ code: 0, stderr: "" });
    const events = spawn(["--root", states, "events", "--type", "exit", id]);
    await until(() => existsSync(join(states, id, "exit")), "it waits");
    spawnSync("dd", ["if=/dev/zero", `of=${join(states, "full")}`, "bs=4k"], { stdio: "ignore" });
    expect(run(["--root", states, "delete", "--force", id])).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/cannot be told to who waits for it: write .*: ENOSPC/),
    });
    const { code, stdout } = await events.exit;
    expect({ code, type: JSON.parse(stdout).type }).toEqual({ code: 0, type: "exit" });
    expect(readdirSync(states)).toEqual(["full"]);
    spawnSync("umount", [states]);
    expectNothingLeft(before);
  });
});

describe("a file system of the kernel's that is not there", () => {
  /** In a mount namespace where an empty file system lies over it. */
  const without = (path: string, args: readonly string[]) => {
    const script = `mount -t tmpfs nothing ${path} && exec "$@"`;
    return run(["-m", "sh", "-c", script, "sh", RUNTIME, ...args], { runtime: "unshare" });
  };

  root("of /proc: no verb takes a container for one that has stopped", () => {
    const before = inventory();
    const { id } = startContainer(sleepingBundle());
    const { pid } = stateOf(id) ?? {};
    const said = expect.stringContaining(`what process ${pid} does cannot be seen in /proc`);
    for (const args of [["state", id], ["list"], ["kill", id, "0"], ["delete", id], ["delete", "--force", id]]) {
      expect(without("/proc", args)).toMatchObject({ code: 1, stderr: said });
    }
    expect(stateOf(id)).toMatchObject({ status: "running", pid });
    expect(without("/proc", ["run", "-b", makeBundle().path, newId()])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/fix: procfs is not mounted at \/proc/),
    });
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });

  root("of cgroups: pause does not claim to have paused, and delete tells of what it may have left", async () => {
    const before = inventory();
    const { id } = startContainer(sleepingBundle());
    expect(without("/sys/fs/cgroup", ["pause", id])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("could not be paused"),
    });
    expect(stateOf(id)?.status).toBe("running");
    const made = cgroupsNamed(id);
    expect(made.length).toBeGreaterThan(0);
    expect(without("/sys/fs/cgroup", ["delete", "--force", id])).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/warning: cgroup .* may be left: no file system of cgroups is mounted at/),
    });
    for (const dir of made) rmdirSync(dir);
    expectNothingLeft(before);
  });
});

describe("a pid file that cannot be written", () => {
  root("no container, the reason, and nothing left, not even a part of it", async () => {
    const before = inventory();
    await withFullDisk((path) => {
      for (const verb of [["create"], ["run", "-d"], ["run"]]) {
        const result = run([...verb, "--pid-file", join(path, "pid"), "-b", sleepingBundle().path, newId()]);
        expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/write pid file .*: ENOSPC/) });
        expect(readdirSync(path)).toEqual(["full"]);
      }
    });
    expectNothingLeft(before);
  });
});

describe("a console socket", () => {
  root("that nobody accepts at: said so in bounded time, and nothing left", async () => {
    const before = inventory();
    const path = join(scratch("console"), "socket");
    // As many wait already as may.
    const script = `
      import socket, sys
      listener = socket.socket(socket.AF_UNIX)
      listener.bind(sys.argv[1])
      listener.listen(0)
      waiting = socket.socket(socket.AF_UNIX)
      waiting.connect(sys.argv[1])
      print("full", flush=True)
      sys.stdin.read()`;
    const listener = spawn(["-c", script.replace(/^ {6}/gm, ""), path], { runtime: "python3" });
    await listener.waitFor("full");
    const bundle = makeBundle({ terminal: true });
    const began = Date.now();
    const result = run(["create", "--console-socket", path, "-b", bundle.path, newId()], { timeoutMs: 40_000 });
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/connect .*: EAGAIN[\s\S]*has not accepted/),
    });
    expect(Date.now() - began).toBeLessThan(25_000);
    listener.child.stdin?.end();
    await listener.exit;
    expectNothingLeft(before);
  });
});

describe("the container's process is killed", () => {
  /** Of the pid in the state that a hook reads. */
  const KILL = `read -r state; pid=\${state#*'"pid":'}; kill -9 "\${pid%%[!0-9]*}"`;

  for (const stage of ["prestart", "createRuntime", "createContainer"] as const) {
    root(`by a ${stage} hook: create says that it has ended, and leaves nothing`, async () => {
      const before = inventory();
      const bundle = sleepingBundle({
        edit: (spec) => {
          spec.hooks = { [stage]: [{ path: "/bin/sh", args: ["sh", "-c", KILL] }] };
          // To a hook in the container's pid namespace its process is another number: the first one, which it may not kill.
          if (stage === "createContainer") {
            spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
          }
        },
      });
      const id = newId();
      const { code, stderr } = run(["create", "-b", bundle.path, id]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^tsrun: create .*(ended|killed|SIGKILL|is gone)/);
      expect(stateOf(id)).toBeUndefined();
      expectNothingLeft(before);
    });
  }

  root("before start: start says so, state says stopped, and delete removes it", async () => {
    const before = inventory();
    const { id } = createContainer(sleepingBundle());
    const pid = stateOf(id)?.pid as number;
    process.kill(pid, "SIGKILL");
    await until(() => !existsSync(`/proc/${pid}`) || stateOf(id)?.status === "stopped", "it ends");
    expect(run(["start", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("stopped") });
    expect(stateOf(id)?.status).toBe("stopped");
    runOk(["delete", id]);
    expectNothingLeft(before);
  });

  root("under an exec: that one ends with it, and every verb tells the truth", async () => {
    const before = inventory();
    const { id } = startContainer(sleepingBundle());
    const exec = spawn(["exec", id, "sh", "-c", "echo here; sleep 1000"]);
    await exec.waitFor("here");
    process.kill(stateOf(id)?.pid as number, "SIGKILL");
    expect((await exec.exit).code).toBe(137);
    await until(() => stateOf(id)?.status === "stopped", "it ends");
    expect(run(["exec", id, "true"]).stderr).toContain("stopped");
    expect(run(["kill", id, "TERM"]).stderr).toContain("container not running");
    runOk(["delete", id]);
    expectNothingLeft(before);
  });

  needs({ root: true, tsrun: true, controllers: ["freezer"] })(
    "while it is paused: delete --force removes it",
    async () => {
      const before = inventory();
      const { id } = startContainer(sleepingBundle());
      runOk(["pause", id]);
      process.kill(stateOf(id)?.pid as number, "SIGKILL");
      // On v1 it ends when it is thawed, on v2 at once.
      expect(["paused", "stopped"]).toContain(stateOf(id)?.status);
      expect(runOk(["list", "-q"])).toContain(id);
      runOk(["delete", "--force", id]);
      expectNothingLeft(before);
    },
  );
});
