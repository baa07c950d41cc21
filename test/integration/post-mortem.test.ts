/** How a container ended, as `state` tells it; the same on cgroup v1 and v2. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { runDetached } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { validatorOf } from "../helpers/oci-schema.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  until,
} from "../helpers/runtime.ts";

const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });
const MEGABYTE = 2 ** 20;

afterEach(deleteContainers);
let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => expectNothingLeft(before));

const exitOf = (id: string) => JSON.parse(runOk(["state", id])).exit;

function limited(script: string, resources: object): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.linux.resources = { ...spec.linux.resources, ...resources };
    },
  });
}

/** Runs to its end and keeps what is left. */
function keep(bundle: Bundle): string {
  const id = newId();
  run(["run", "--keep", "-b", bundle.path, id]);
  return id;
}

const HOG = { memory: { limit: 24 * MEGABYTE, swap: 24 * MEGABYTE } };

describe("post-mortem", () => {
  own()("a code, a signal and no core dump", () => {
    expect(exitOf(keep(makeBundle({ args: ["sh", "-c", "exit 7"] })))).toMatchObject({ exitCode: 7 });
    // The first process of a pid namespace gets no signal that it does not handle, but from outside.
    const id = newId();
    expect(runDetached(["run", "-d", "-b", makeBundle({ args: ["sleep", "100"] }).path, id]).code).toBe(0);
    expect(exitOf(id)).toBeUndefined();
    runOk(["kill", id, "KILL"]);
    const ended = keep(
      makeBundle({
        args: ["sh", "-c", "kill -SEGV $$"],
        edit: (spec) => {
          spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "pid") ?? [];
          spec.process.rlimits = [{ type: "RLIMIT_CORE", soft: 0, hard: 0 }];
        },
      }),
    );
    expect(exitOf(ended)).toMatchObject({ exitCode: 139, signal: "SIGSEGV", coreDumped: false });
  });

  own("memory", "cpu")("out of memory is told as such, with the peak and the CPU time", () => {
    const id = keep(
      limited("head -c 200m /dev/zero | tail; exit 3", { ...HOG, cpu: { quota: 50_000, period: 100_000 } }),
    );
    const exit = exitOf(id);
    expect(exit).toMatchObject({ exitCode: 3, oomKilled: true, oomKills: 1 });
    expect(exit.memoryPeak).toBeGreaterThan(20 * MEGABYTE);
    expect(exit.memoryPeak).toBeLessThanOrEqual(24 * MEGABYTE);
    expect(exit.cpu.usage.total).toBeGreaterThan(0);
    expect(exit.cpu.throttling.periods).toBeGreaterThan(0);
  });

  own("memory")("the first process killed for want of memory: SIGKILL, and why", () => {
    const id = newId();
    const bundle = makeBundle({
      args: ["tail", "/dev/zero"],
      edit: (spec) => {
        spec.linux.resources = { ...spec.linux.resources, ...HOG };
      },
    });
    expect(run(["run", "--keep", "-b", bundle.path, id]).code).toBe(137);
    expect(exitOf(id)).toMatchObject({ exitCode: 137, signal: "SIGKILL", oomKilled: true, oomKills: 1 });
  });

  own("memory")("who was not killed for want of memory was not", () => {
    expect(exitOf(keep(limited("exit 137", HOG)))).toMatchObject({ exitCode: 137, oomKilled: false, oomKills: 0 });
  });

  own("memory")("of a detached container that nobody of ours waits for the cgroup tells, until delete", async () => {
    const id = newId();
    runDetached(["run", "-d", "-b", limited("head -c 200m /dev/zero | tail", HOG).path, id]);
    await until(() => JSON.parse(runOk(["state", id])).status === "stopped", "it ends");
    expect(exitOf(id)).toMatchObject({ oomKilled: true, oomKills: 1, memoryPeak: expect.any(Number) });
    runOk(["delete", id]);
  });

  own()("the state fits the schema of the spec, and has no exit while it runs", () => {
    const validate = validatorOf("state-schema.json");
    const id = newId();
    runDetached(["run", "-d", "-b", makeBundle({ args: ["sleep", "100"] }).path, id]);
    const running = JSON.parse(runOk(["state", id]));
    expect(running).not.toHaveProperty("exit");
    expect(validate(running)).toBe(true);
    const stopped = JSON.parse(runOk(["state", keep(makeBundle({ args: ["false"] }))]));
    expect(stopped.exit).toMatchObject({ exitCode: 1 });
    expect(validate(stopped), JSON.stringify(validate.errors)).toBe(true);
  });

  own()("a container that is not kept leaves no record of its end", () => {
    const id = newId();
    expect(run(["run", "-b", makeBundle({ args: ["sh", "-c", "exit 4"] }).path, id]).code).toBe(4);
    expect(readdirSync("/run/tsrun")).not.toContain(id);
    const kept = keep(makeBundle({ args: ["true"] }));
    expect(readdirSync(join("/run/tsrun", kept)).sort()).toEqual(["config.json", "exit", "state.json"]);
    runOk(["delete", kept]);
    expect(readdirSync("/run/tsrun")).not.toContain(kept);
  });
});
