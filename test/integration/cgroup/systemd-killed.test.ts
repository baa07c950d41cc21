/** The runtime is killed at each message that it exchanges with systemd: delete --force finds what there is by then. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { unitProperty } from "../../helpers/systemd.ts";
import { SystemdProxy } from "../../helpers/systemd-proxy.ts";

const FLAG = "--systemd-cgroup";
const WHOLE = { code: 0, stderr: "" };
const START = ["StartTransientUnit", "answer to StartTransientUnit", "end of the job"];
const STOP = [
  ...["GetUnit", "answer to GetUnit", "Get", "answer to Get"],
  ...["StopUnit", "answer to StopUnit", "end of the job", "ResetFailedUnit", "answer to ResetFailedUnit"],
];

interface Kind {
  name: string;
  path(id: string): string;
  unit(id: string): string;
}

const inSlice = (id: string) => `tsruntest-${id.replaceAll("-", "_")}.slice`;
const scope: Kind = { name: "scope", path: (id) => `system.slice:box:${id}`, unit: (id) => `box-${id}.scope` };
const slice: Kind = { name: "slice", path: (id) => `::${inSlice(id)}`, unit: inSlice };

describe("killed at a message of systemd's", () => {
  const systemd = needs({ root: true, systemd: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["pids"] });
  let proxy: SystemdProxy;
  beforeAll(async () => {
    proxy = await SystemdProxy.open();
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  const left: string[] = [];
  afterEach(() => {
    for (const id of left.splice(0)) run(["delete", "--force", id]);
  });

  function fresh(kind: Kind): { id: string; unit: string; create: string[] } {
    const id = newId();
    left.push(id);
    const { path } = makeBundle({
      args: ["sleep", "3600"],
      edit: (spec) => {
        spec.linux.cgroupsPath = kind.path(id);
        spec.linux.resources = { ...spec.linux.resources, pids: { limit: 20 } };
      },
    });
    return { id, unit: kind.unit(id), create: [FLAG, "create", "-b", path, id] };
  }

  function made(kind: Kind): { id: string; unit: string } {
    const { id, unit, create } = fresh(kind);
    expect(runDetached(create).code).toBe(0);
    return { id, unit };
  }

  /** Nothing is left by the time that delete has ended. */
  function expectDeleted({ id, unit }: { id: string; unit: string }, when: string): void {
    expect(run(["delete", "--force", id]), when).toMatchObject(WHOLE);
    expectGone({ id, unit }, when);
  }

  function expectGone({ id, unit }: { id: string; unit: string }, when: string): void {
    // A slice is loaded for as long as somebody names it.
    if (unit.endsWith(".slice")) expect(unitProperty(unit, "ActiveState"), when).toBe("inactive");
    else expect(unitProperty(unit, "LoadState"), when).toBe("not-found");
    expect(spawnSync("find", ["/sys/fs/cgroup", "-name", unit], { encoding: "utf8" }).stdout, when).toBe("");
    expect(existsSync(`/run/tsrun/${id}`), when).toBe(false);
  }

  for (const kind of [scope, slice]) {
    systemd(
      `create of a ${kind.name}`,
      async () => {
        const whole = fresh(kind);
        expect(await proxy.run(whole.create, whole.unit)).toEqual({ code: 0, messages: START });
        expectDeleted(whole, "whole");
        for (const [at, message] of START.entries()) {
          const one = fresh(kind);
          expect((await proxy.run(one.create, one.unit, at + 1)).messages, message).toEqual(START.slice(0, at + 1));
          expect([undefined, "creating", "stopped"], message).toContain(stateOf(one.id)?.status);
          expectDeleted(one, message);
        }
      },
      120_000,
    );
  }

  systemd(
    "update",
    async () => {
      const { id, unit } = made(scope);
      // What the limits were is asked for first, and in the end whether systemd has written the new ones.
      const messages = ["GetUnit", "Get", "SetUnitProperties", "Get"].flatMap((call) => [call, `answer to ${call}`]);
      const update = (limit: number) => [FLAG, "update", "--pids-limit", String(limit), id];
      expect(await proxy.run(update(21), unit)).toEqual({ code: 0, messages });
      for (const [at, message] of messages.entries()) {
        expect(await proxy.run(update(30 + at), unit, at + 1)).toEqual({
          code: null,
          messages: messages.slice(0, at + 1),
        });
        expect(stateOf(id)?.status, message).toBe("created");
      }
      runOk(["update", "--pids-limit", "22", id]);
      expect(unitProperty(unit, "TasksMax")).toBe("22");
      expectDeleted({ id, unit }, "in the end");
    },
    60_000,
  );

  systemd(
    "delete",
    async () => {
      const remove = (id: string) => ["delete", "--force", id];
      for (const [at, message] of STOP.entries()) {
        const one = made(slice);
        const { messages } = await proxy.run(remove(one.id), one.unit, at + 1);
        expect(messages.length, message).toBeGreaterThan(0);
        expectDeleted(one, message);
      }
      // A scope may go by itself, with its last process, before it is asked for, or stopped: it is as far as it is.
      for (const at of [1, 2, 6]) {
        const one = made(scope);
        const { messages } = await proxy.run(remove(one.id), one.unit, at);
        expect(STOP).toEqual(expect.arrayContaining(messages));
        expectDeleted(one, messages.join(", "));
      }
    },
    180_000,
  );

  systemd("what else is done with a container takes no word of systemd's", async () => {
    const { id, unit } = made(scope);
    const verbs = [["start"], ["pause"], ["resume"], ["exec", "true"], ["ps"], ["events", "--stats"], ["kill", "KILL"]];
    for (const [verb, ...rest] of verbs) {
      const flags = rest.filter((word) => word.startsWith("-"));
      const args = [verb as string, ...flags, id, ...rest.filter((word) => !word.startsWith("-"))];
      expect(await proxy.run([FLAG, ...args], unit), verb).toEqual({ code: 0, messages: [] });
    }
    await until(() => unitProperty(unit, "LoadState") === "not-found", "the unit goes with its last process");
    expectDeleted({ id, unit }, "stopped");
  });
});
