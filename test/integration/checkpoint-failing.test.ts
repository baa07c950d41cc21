/** A checkpoint or a restore that goes wrong half-way: what is said, and what is left. Some need criu(8). */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { tool } from "../helpers/images.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const criu = needs({ root: true, tsrun: true, criu: true });
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

describe("a checkpoint", () => {
  root("whose criu is killed says so, and leaves the container alone", () => {
    const { id } = startContainer(sleepingBundle());
    const directory = scratch("program");
    const program = join(directory, "criu");
    writeFileSync(program, '#!/bin/sh\n[ "$1" = --version ] && exec echo Version: 3.17\nkill -9 $$\n', { mode: 0o755 });
    const images = scratch("images");
    const failed = run(["--criu", program, "checkpoint", "--image-path", images, id]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("criu failed to checkpoint the container: it was killed by signal 9");
    expect(readdirSync(images)).toEqual([]);
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });

  root("into what is no directory is refused, by the name of the flag", () => {
    const bundle = sleepingBundle();
    const { id } = startContainer(bundle);
    const file = join(scratch("file"), "file");
    writeFileSync(file, "");
    const there = inventory();
    for (const path of [file, join(file, "below")]) {
      expect(run(["checkpoint", "--image-path", path, id]).stderr).toContain(`--image-path ${path}: this, or a part`);
      const restore = ["restore", "-d", "-b", bundle.path];
      expect(run([...restore, "--image-path", path, newId()]).stderr).toContain(
        `--image-path ${path}: this, or a part`,
      );
      const work = run([...restore, "--image-path", scratch("images"), "--work-path", path, newId()]);
      expect(work.stderr).toContain(`--work-path ${path}: this, or a part`);
    }
    expectNothingLeft(there);
    runOk(["delete", "--force", id]);
  });

  criu(
    "on a full disk says so, and the container goes on",
    async () => {
      const id = started(counting());
      await counted(id);
      const disk = scratch("disk");
      tool("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
      try {
        const images = join(disk, "images");
        const failed = run(["checkpoint", "--image-path", images, id], { timeoutMs: 60_000 });
        expect(failed.code).toBe(1);
        expect(failed.stderr).toContain("No space left on device");
        expect(readdirSync(images), "room is made again").toEqual(["dump.log"]);
        expect(stateOf(id)?.status).toBe("running");
        const { count } = await counted(id);
        await counted(id, count + 1);
        runOk(["delete", "--force", id]);
      } finally {
        tool("umount", [disk]);
      }
    },
    LONG,
  );
});

describe("a restore", () => {
  /** Of criu's processes, the first: a child of tsrun, which is the parent of the hook. */
  const CRIU = "for p in $(cat /proc/$PPID/task/*/children); do grep -q '^criu' /proc/$p/comm && echo $p; done";

  criu(
    "that is killed half-way leaves nothing, or what `delete --force` removes",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      const there = inventory();
      const told = join(scratch("hook"), "told");
      const restoreWith = (script: string, mode: string) => {
        const args = ["sh", "-c", `: > ${told}; ${script}`];
        bundle.edit((spec) => {
          spec.hooks = { prestart: [{ path: "/bin/sh", args, env: [`PATH=${process.env.PATH}`] }] };
        });
        const restore = ["restore", "-d", "-b", bundle.path, "--image-path", images, "--manage-cgroups-mode", mode, id];
        const result = spawnSync(RUNTIME, restore, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
        expect(existsSync(told), "the hook has run").toBe(true);
        return result;
      };
      for (const mode of ["soft", "strict"]) {
        const failed = restoreWith(`kill -9 $(${CRIU})`, mode);
        expect(failed.status).toBe(1);
        expect(failed.stderr).toContain("it was killed by signal 9");
        expect(stateOf(id)).toBeUndefined();
        expectNothingLeft(there);

        expect(restoreWith("kill -9 $PPID", mode).signal).toBe("SIGKILL");
        expect(stateOf(id)?.status).toBe("stopped");
        expect(run(["restore", "-d", "-b", bundle.path, "--image-path", images, id]).stderr).toContain(
          "already exists",
        );
        runOk(["delete", "--force", id]);
        expectNothingLeft(there);
      }
      bundle.edit((spec) => {
        spec.hooks = {};
      });
      restored(bundle, images, id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});
