import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ContainerWatch } from "../../../src/runtime/container-watch.ts";
import { containerEvents, watchContainer } from "../../../src/runtime/events.ts";
import { processStat } from "../../../src/runtime/lifecycle.ts";
import { newRecord, StateDirectory, type StateRecord } from "../../../src/runtime/state.ts";
import { POLLIN } from "../../../src/sys/constants.ts";
import { pollFd, waitid } from "../../../src/sys/process.ts";
import { posixSpawn } from "../../../src/sys/spawn.ts";

const root = mkdtempSync(join(tmpdir(), "tsrun-events-"));

function container(id: string, pid: number, startTime: number): { state: StateDirectory; record: StateRecord } {
  const state = new StateDirectory(root, id);
  mkdirSync(state.path, { recursive: true });
  const fields = { id, pid, startTime, phase: "running", annotations: {}, namespaces: 0, owner: 0 };
  const record = newRecord({ ...fields, bundle: "/", rootfs: "/", created: "", ownPidNamespace: true } as never);
  state.write(record);
  return { state, record };
}

const wanted = { types: ["exit"], pressureMs: 200 } as const;

describe("runtime/events", () => {
  test("a container that ends while it is looked at has an exit all the same", () => {
    const pid = posixSpawn({ path: "/bin/sh", argv: ["sh", "-c", "exit 3"], envp: [] });
    const { startTime } = processStat(pid) as { startTime: number };
    waitid({ pid }, { keep: true });
    const { state, record } = container("ended", pid, startTime);
    const watch = new ContainerWatch(state, record, wanted);
    expect(watch.isOver).toBe(false);
    const fired = watch.watched.map(({ fd }) => pollFd(fd, POLLIN, 1000));
    expect(watch.take(fired)).toEqual([{ type: "exit", id: "ended", data: expect.anything() }]);
    expect(watch.isOver).toBe(true);
    watch.close();
    waitid({ pid });
  });

  test("one that was waited for does not run, whoever has its number by now", () => {
    const { state, record } = container("other", process.pid, 1);
    const watch = new ContainerWatch(state, record, wanted);
    expect(watch.isOver).toBe(true);
    watch.close();
    const { pid } = spawnSync("true");
    container("gone", pid, 1);
    for (const id of ["other", "gone"]) {
      expect(() => watchContainer(root, id, wanted, () => {})).toThrow(`container with id ${id} is not running`);
    }
  });

  test("one that is being made, and has no process yet, does not run", () => {
    const { state, record } = container("made", 0, 0);
    state.write({ ...record, phase: "creating" });
    expect(() => watchContainer(root, "made", wanted, () => {})).toThrow("is not running: it is creating");
  });

  test("an interval that is none is refused, and one without end is never over", async () => {
    for (const intervalMs of [0, -1, Number.NaN]) {
      expect(() => watchContainer(root, "web", { intervalMs }, () => {})).toThrow("it must be above 0");
    }
    // A timer of Node that is set for longer than it can be goes off at once.
    const warnings: string[] = [];
    const warn = ({ name }: Error) => warnings.push(name);
    process.on("warning", warn);
    const options = {
      types: ["stats"],
      intervalMs: Number.POSITIVE_INFINITY,
      signal: AbortSignal.timeout(300),
    } as const;
    for await (const event of containerEvents(root, undefined, options)) throw new Error(event.type);
    process.off("warning", warn);
    expect(warnings).toEqual([]);
    rmSync(root, { recursive: true });
  });
});
