/** `checkpoint` and `restore`: a container goes into files and comes out of them as it was. Needs criu(8). */
import { spawn as nodeSpawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { COUNT, checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  cgroupsNamed,
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const criu = needs({ root: true, tsrun: true, criu: true });
const tracking = needs({ root: true, tsrun: true, criu: true, memoryTracking: true });
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

describe("checkpoint and restore", () => {
  criu(
    "a counter goes on where it was, under the same id, and everything works on it",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id, 5);
      const images = scratch("images");
      checkpoint(id, images);
      expect(stateOf(id), "it is gone, as under runc").toBeUndefined();
      expect(cgroupsNamed(id)).toEqual([]);

      const pidFile = join(images, "pid");
      restored(bundle, images, id, ["--pid-file", pidFile]);
      const is = await counted(id, was.count + 1);
      expect(is.name).toBe(was.name);
      const state = stateOf(id);
      expect(state?.status).toBe("running");
      expect(readFileSync(pidFile, "utf8")).toBe(String(state?.pid));
      expect(readFileSync(`/proc/${state?.pid}/cgroup`, "utf8")).toContain(id);

      expect(runOk(["exec", id, "hostname"])).toBe("runc\n");
      expect(runOk(["ps", id])).toContain("/dev/shm/n");
      runOk(["pause", id]);
      expect(stateOf(id)?.status).toBe("paused");
      runOk(["resume", id]);
      runOk(["kill", id, "KILL"]);
      await until(() => stateOf(id)?.status === "stopped", "it stops");
      runOk(["delete", id]);
      expect(stateOf(id)).toBeUndefined();
    },
    LONG,
  );

  criu(
    "under another id it is in the cgroup of that one, with a cgroup namespace and without",
    async () => {
      for (const hasNamespace of [false, true]) {
        const bundle = counting({
          edit: (spec) => {
            spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "cgroup");
            if (hasNamespace) spec.linux.namespaces.push({ type: "cgroup" });
          },
        });
        const id = started(bundle);
        const was = await counted(id);
        const images = scratch("images");
        checkpoint(id, images);
        const other = newId("other");
        restored(bundle, images, other);
        expect((await counted(other, was.count + 1)).name).toBe(was.name);
        const cgroup = readFileSync(`/proc/${stateOf(other)?.pid}/cgroup`, "utf8");
        expect(cgroup).toContain(other);
        expect(cgroup).not.toContain(`/${id}\n`);
        expect(cgroupsNamed(id).filter((path) => path.endsWith(`/${id}`))).toEqual([]);
        runOk(["delete", "--force", other]);
      }
    },
    LONG,
  );

  criu(
    "what was the null device stays it, when the restore has pipes",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      runOk(["restore", "-d", "-b", bundle.path, "--image-path", images, id], { timeoutMs: 60_000 });
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      const stdio = "for fd in 0 1 2; do stat -L -c %t:%T /proc/1/fd/$fd; done";
      expect(runOk(["exec", id, "sh", "-c", stdio])).toBe("1:3\n1:3\n1:3\n");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "--leave-running leaves it running, and what comes later is not in the files",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const images = join(scratch("images"), "made", "for-it");
      await counted(id);
      checkpoint(id, images, ["--leave-running", "--work-path", join(images, "../work")]);
      expect(readdirSync(images)).toContain("descriptors.json");
      expect(readdirSync(join(images, "../work"))).toContain("dump.log");
      const { count } = await counted(id);
      const later = await counted(id, count + 40);
      runOk(["delete", "--force", id]);
      restored(bundle, images, id);
      const is = await counted(id);
      expect(is.name).toBe(later.name);
      expect(is.count).toBeLessThan(later.count);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "a paused container can be kept, and runs when it is restored",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      await counted(id);
      runOk(["pause", id]);
      const images = scratch("images");
      checkpoint(id, images);
      expect(stateOf(id)).toBeUndefined();
      restored(bundle, images, id);
      await counted(id, 2);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  tracking(
    "a checkpoint after a pre-dump has what changed, and finds the rest",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const images = scratch("images");
      const was = await counted(id);
      checkpoint(id, join(images, "before"), ["--pre-dump"]);
      expect(stateOf(id)?.status).toBe("running");
      const { count } = await counted(id, was.count + 1);
      checkpoint(id, join(images, "after"), ["--parent-path", "../before"]);
      restored(bundle, join(images, "after"), id);
      expect((await counted(id, count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "--lazy-pages serves the memory to a restore, and --status-fd tells when it can",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      const status = join(images, "status");
      const fd = openSync(status, "w");
      const server = ["--page-server", "127.0.0.1:27277", "--status-fd", "3"];
      const dump = nodeSpawn(RUNTIME, ["checkpoint", "--lazy-pages", ...server, "--image-path", images, id], {
        stdio: ["ignore", "ignore", "inherit", fd],
      });
      const dumped = once(dump, "exit");
      closeSync(fd);
      await until(() => statSync(status).size > 0, "the pages can be fetched");
      const from = ["--page-server", "--address", "127.0.0.1", "--port", "27277"];
      const daemon = nodeSpawn("criu", ["lazy-pages", ...from, "-D", images, "-W", images], { stdio: "ignore" });
      const served = once(daemon, "exit");
      await until(() => existsSync(join(images, "lazy-pages.socket")), "criu fetches pages");
      const other = newId("other");
      restored(bundle, images, other, ["--lazy-pages"]);
      expect((await counted(other, was.count + 1)).name).toBe(was.name);
      expect([(await dumped)[0], (await served)[0]]).toEqual([0, 0]);
      expect(stateOf(id)).toBeUndefined();
      runOk(["delete", "--force", other]);
    },
    LONG,
  );

  criu(
    "hooks of the way up to the process run again, and later ones do not",
    async () => {
      const log = join(scratch("hooks"), "log");
      const stages = ["prestart", "createRuntime", "poststart", "poststop"] as const;
      const script = `grep -o '"status":"[a-z]*"' | sed "s/^/$1 /" >> ${log}`;
      const bundle = counting({
        edit: (spec) => {
          spec.hooks = Object.fromEntries(
            stages.map((stage) => [stage, [{ path: "/bin/sh", args: ["sh", "-c", script, "sh", stage] }]]),
          );
        },
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      rmSync(log);
      restored(bundle, images, id);
      const lines = () => readFileSync(log, "utf8").trim().split("\n");
      expect(lines()).toEqual(['prestart "status":"creating"', 'createRuntime "status":"creating"']);
      runOk(["delete", "--force", id]);
      expect(lines().at(-1)).toBe('poststop "status":"stopped"');
    },
    LONG,
  );

  criu(
    "limits of the bundle are those of the restored container",
    async () => {
      const bundle = counting({
        edit: (spec) => {
          spec.linux.resources = { ...spec.linux.resources, pids: { limit: 77 } };
        },
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images, ["--manage-cgroups-mode", "ignore"]);
      restored(bundle, images, id, ["--manage-cgroups-mode", "ignore"]);
      const group = cgroupsNamed(id).find((path) => existsSync(join(path, "pids.max"))) ?? "";
      expect(readFileSync(join(group, "pids.max"), "utf8").trim()).toBe("77");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("what cannot be", () => {
  criu(
    "a checkpoint that fails says why and where the log is, leaves the container alone, and no images",
    async () => {
      const bundle = counting({
        args: ["sh", "-c", `exec 5> /tmp/gone; ln /tmp/gone /tmp/kept; rm /tmp/gone; ${COUNT}`],
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      const failed = run(["checkpoint", "--image-path", images, id], { timeoutMs: 60_000 });
      expect(failed.code).toBe(1);
      expect(failed.stderr).toContain("link-remap");
      expect(failed.stderr).toContain(join(images, "dump.log"));
      expect(readdirSync(images)).toEqual(["dump.log"]);
      expect(stateOf(id)?.status).toBe("running");
      const { count } = await counted(id);
      await counted(id, count + 1);

      checkpoint(id, images, ["--link-remap"]);
      restored(bundle, images, id);
      await counted(id, count + 1);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "a restore that fails says why and where the log is, and leaves nothing behind",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      const pages = readdirSync(images).find((name) => name.startsWith("pagemap-")) ?? "none";
      rmSync(join(images, pages));
      const there = inventory();
      const failed = run(["restore", "-d", "-b", bundle.path, "--image-path", images, id], { timeoutMs: 60_000 });
      expect(failed.code).toBe(1);
      expect(failed.stderr).toContain("criu failed to restore the container");
      expect(failed.stderr).toContain(join(images, "restore.log"));
      expect(stateOf(id)).toBeUndefined();
      expectNothingLeft(there);
    },
    LONG,
  );

  root("a container that is not started has nothing to keep", () => {
    const { id } = createContainer(sleepingBundle());
    const result = run(["checkpoint", "--image-path", join(scratch(), "images"), id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("Container cannot be checkpointed in created state");
    runOk(["delete", "--force", id]);
  });

  root("without criu both verbs say what to install, and nothing changes", () => {
    const bundle = sleepingBundle();
    const { id } = startContainer(bundle);
    const images = scratch("images");
    const env = { PATH: "/nonexistent" };
    const failed = run(["checkpoint", "--image-path", images, id], { env });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("criu is not installed");
    expect(failed.stderr).toContain("apt-get install criu");
    expect(stateOf(id)?.status).toBe("running");
    const there = inventory();
    const other = newId();
    expect(run(["restore", "-d", "-b", bundle.path, "--image-path", images, other], { env }).stderr).toContain(
      "criu is not installed",
    );
    expect(stateOf(other)).toBeUndefined();
    expectNothingLeft(there);
    runOk(["delete", "--force", id]);
  });

  root("a criu that is too old is refused: it would pass over what it does not know", () => {
    const { id } = startContainer(sleepingBundle());
    const directory = scratch("old");
    writeFileSync(join(directory, "criu"), "#!/bin/sh\necho Version: 3.15\n", { mode: 0o755 });
    const failed = run(["checkpoint", "--image-path", scratch("images"), id], { env: { PATH: directory } });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("it is criu 3.15, and 3.17 is needed");
    const named = join(directory, "another");
    writeFileSync(named, "#!/bin/sh\necho Version: 3.16\n", { mode: 0o755 });
    const globally = (program: string, env = {}) =>
      run(["--criu", program, "checkpoint", "--image-path", scratch("images"), id], { env }).stderr;
    expect(globally(named)).toContain(`${named}: it is criu 3.16, and 3.17 is needed`);
    expect(globally("another", { PATH: directory })).toContain(`${named}: it is criu 3.16`);
    expect(globally("/nowhere/criu")).toContain("/nowhere/criu is not installed");
    writeFileSync(join(directory, "criu"), "#!/bin/sh\necho Version: 3.17.1\n", { mode: 0o755 });
    const skip = ["checkpoint", "--network-lock", "skip", "--image-path", scratch("images"), id];
    expect(run(skip, { env: { PATH: directory } }).stderr).toContain("3.18 is needed for --network-lock skip");
    runOk(["delete", "--force", id]);
  });

  root("a directory that is not there is named, and nothing is made", () => {
    const bundle = sleepingBundle();
    const missing = join(scratch(), "missing");
    const there = inventory();
    const result = run(["restore", "-d", "-b", bundle.path, "--image-path", missing, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`--image-path ${missing}: there is no such directory`);
    expectNothingLeft(there);

    const { id } = startContainer(bundle);
    const parent = (path: string) => run(["checkpoint", "--image-path", missing, "--parent-path", path, id]).stderr;
    expect(parent("/absolute")).toContain("must be relative");
    expect(parent("../nowhere")).toContain("there is no directory");
    expect(existsSync(missing)).toBe(false);
    runOk(["delete", "--force", id]);
  });

  root("an id that is taken is not restored over", () => {
    const bundle = sleepingBundle();
    const { id } = startContainer(bundle);
    const result = run(["restore", "-d", "-b", bundle.path, "--image-path", scratch("images"), id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("container with given ID already exists");
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });

  root("a namespace that criu cannot join again is refused before anything is done", () => {
    const holder = startContainer(sleepingBundle());
    const bundle = sleepingBundle({
      edit: (spec) => {
        const path = `/proc/${stateOf(holder.id)?.pid}/ns/time`;
        spec.linux.namespaces = [...(spec.linux.namespaces ?? []), { type: "time", path }];
      },
    });
    const { id } = startContainer(bundle);
    const images = scratch("images");
    const result = run(["checkpoint", "--image-path", images, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("a container that joins a time namespace");
    expect(readdirSync(images)).toEqual([]);
    runOk(["delete", "--force", id]);
    runOk(["delete", "--force", holder.id]);
  });
});
