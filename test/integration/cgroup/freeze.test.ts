/** Freezing what ends, moves or goes meanwhile. A cgroup that is gone (ENOENT, ENODEV) has nothing left to freeze. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import { destroyCgroup, freeze, isFrozen, killCgroup, thaw } from "../../../src/cgroup/manager.ts";
import { SIGNALS } from "../../../src/sys/constants.ts";
import { makeBundle } from "../../helpers/bundle.ts";
import { createContainer, runDetached, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run, runOk, spawn, stateOf, until } from "../../helpers/runtime.ts";
import { destroyAll, ended, left, make, startIn } from "./helpers.ts";

afterEach(destroyAll);

const SIGKILL = SIGNALS.SIGKILL as number;
const forever = "echo ready; exec sleep 1000";
const forking = "f() { while :; do (sleep 0.01 & exec sleep 0.01) & wait; done; }; f & f & echo ready; f";

describe("freezing", () => {
  const root = needs({ root: true, cgroup: ["v1", "v2"], controllers: ["freezer"], files: ["/bin/busybox"] });

  root("a cgroup that is gone is neither frozen nor thawed, and that is no error", () => {
    const record = make();
    destroyCgroup(record);
    freeze(record);
    thaw(record);
    expect(isFrozen(record)).toBe(false);
  });

  root("a frozen cgroup is removed with its processes", async () => {
    const record = make();
    const child = await startIn(record, forever);
    freeze(record);
    destroyCgroup(record, { kill: true });
    expect(left(record)).toEqual([]);
    expect(await ended(child)).toBe("SIGKILL");
  });

  needs({ root: true, cgroup: "v1", controllers: ["freezer"], files: ["/bin/busybox"] })(
    "a process that somebody has moved to a frozen cgroup of his own, where nothing dies, is ended all the same",
    async () => {
      const record = make();
      const child = await startIn(record, forever);
      const elsewhere = `${record.paths.freezer}-elsewhere`;
      mkdirSync(elsewhere);
      try {
        writeFileSync(`${elsewhere}/cgroup.procs`, String(child.pid));
        writeFileSync(`${elsewhere}/freezer.state`, "FROZEN");
        destroyCgroup(record, { kill: true });
        expect(left(record)).toEqual([]);
        expect(await ended(child)).toBe("SIGKILL");
      } finally {
        writeFileSync(`${elsewhere}/freezer.state`, "THAWED");
        await until(() => readFileSync(`${elsewhere}/cgroup.procs`, "utf8") === "", "it is empty");
        rmdirSync(elsewhere);
      }
    },
  );

  root("processes that fork as fast as they can are frozen, all of them", async () => {
    const record = make({ resources: { pids: { limit: 60 } } });
    await startIn(record, forking);
    for (let round = 0; round < 10; round++) {
      freeze(record);
      expect(isFrozen(record)).toBe(true);
      thaw(record);
    }
    freeze(record);
    killCgroup(record, SIGKILL);
    destroyCgroup(record);
    expect(left(record)).toEqual([]);
  });

  root("freezing and thawing by several at once leaves it as the last one says", async () => {
    const record = make();
    await startIn(record, forever);
    const file = record.layout === "v2" ? `${record.paths[""]}/cgroup.freeze` : `${record.paths.freezer}/freezer.state`;
    const [on, off] = record.layout === "v2" ? ["1", "0"] : ["FROZEN", "THAWED"];
    const others = await startIn(
      { layout: "none", paths: {}, made: [] },
      `echo ready; i=0; while [ $i -lt 300 ]; do echo ${on} > '${file}'; echo ${off} > '${file}'; i=$((i+1)); done 2>/dev/null`,
    );
    for (let round = 0; round < 20; round++) {
      try {
        freeze(record);
      } catch (error) {
        // Thawed again and again by the other, within two seconds.
        expect(String(error)).toContain("does not freeze");
      }
      thaw(record);
    }
    await ended(others);
    freeze(record);
    expect(isFrozen(record)).toBe(true);
    thaw(record);
    expect(isFrozen(record)).toBe(false);
  });

  needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["freezer"] })(
    "a cgroup that somebody leaves frozen while the container is made is thawed",
    async () => {
      const id = newId();
      const write = (name: string, value: string) =>
        `find /sys/fs/cgroup -path '*/${id}/${name}' -exec sh -c 'echo ${value} > {}' ';'`;
      const freezing = `${write("freezer.state", "FROZEN")}; [ -d /sys/fs/cgroup/freezer ] || ${write("cgroup.freeze", "1")}`;
      const bundle = makeBundle({
        args: ["sleep", "1000"],
        edit: (spec) => {
          spec.hooks = { createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", freezing] }] };
        },
      });
      expect(runDetached(["create", "-b", bundle.path, id]).code).toBe(0);
      expect(stateOf(id)?.status).toBe("created");
      runOk(["delete", "--force", id]);
    },
  );

  needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["freezer"] })(
    "pause beside delete --force ends in one of two ways, and leaves nothing",
    async () => {
      for (let round = 0; round < 8; round++) {
        const { id } = startContainer(sleepingBundle());
        const pause = spawn(["pause", id]);
        const remove = spawn(["delete", "--force", id]);
        const [paused, removed] = [await pause.exit, await remove.exit];
        expect(removed).toMatchObject({ code: 0, stderr: "" });
        if (paused.code !== 0) expect(paused.stderr).toMatch(/does not exist|not running|stopped|is gone/);
        expect(stateOf(id)).toBeUndefined();
        expect(existsSync(`/run/tsrun/${id}`)).toBe(false);
      }
    },
    60_000,
  );

  root("a container that is paused before its start does not run already", () => {
    const { id } = createContainer(sleepingBundle());
    runOk(["pause", id]);
    const { code, stderr } = run(["start", id]);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("cannot start a container in the paused state"),
    });
    runOk(["resume", id]);
    runOk(["start", id]);
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });

  needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["freezer"] })(
    "a container that ends while it is paused is stopped, and resume says so",
    async () => {
      const { id } = startContainer(sleepingBundle());
      runOk(["pause", id]);
      expect(stateOf(id)?.status).toBe("paused");
      runOk(["kill", id, "KILL"]);
      await until(() => stateOf(id)?.status === "stopped", "it ends");
      expect(run(["resume", id]).code).not.toBe(0);
      runOk(["delete", id]);
    },
  );
});
