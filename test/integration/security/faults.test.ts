/**
 * The runtime is killed at any moment: what it leaves is described truthfully, and `delete --force` removes all of it.
 */
import { spawn as spawnChild } from "node:child_process";
import { describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  RUNTIME,
  run,
  runOk,
  stateOf,
  until,
} from "../../helpers/runtime.ts";

const TRIES = process.env.TSRUN_VM === "1" ? 10 : 24;
const isSlow = process.env.TSRUN_VM === "1";

/** Runs the runtime and kills it after so many milliseconds; resolves when it has ended. */
function killedAfter(ms: number, args: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawnChild(RUNTIME, args, { stdio: "ignore" });
    const end = process.hrtime.bigint() + BigInt(Math.round(ms * 1e6));
    child.on("exit", () => resolve());
    // A timer is too coarse: it is fractions of a millisecond that matter.
    const wait = () => {
      if (process.hrtime.bigint() < end) setImmediate(wait);
      else child.kill("SIGKILL");
    };
    wait();
  });
}

function layered(args: string[]): Bundle {
  return makeBundle({
    args,
    terminal: false,
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
    },
  });
}

/** What `state` says must be so, and `delete --force` must leave nothing. */
async function expectTruthThenNothing(id: string, what: string): Promise<void> {
  const result = run(["state", id]);
  if (result.code !== 0) expect(result.stderr, what).toContain("does not exist");
  else {
    const { status, pid } = JSON.parse(result.stdout);
    // Paused: who ends all of a cgroup's processes freezes it meanwhile.
    expect(["creating", "created", "running", "paused", "stopped"], what).toContain(status);
    if (status === "running" || status === "created") {
      // The number is that of a process which is there.
      expect(() => process.kill(pid, 0), what).not.toThrow();
    }
  }
  const removed = run(["delete", "--force", id]);
  expect({ what, code: removed.code, stderr: removed.stderr }).toEqual({ what, code: 0, stderr: "" });
  expect(stateOf(id), what).toBeUndefined();
  await until(() => processesNamed(id).length === 0, `${what}: its processes end: ${processesNamed(id).join(", ")}`);
}

describe("the runtime is killed", () => {
  const root = needs({ root: true, tsrun: true });

  for (const verb of ["create", "run", "run -d"]) {
    root(
      `during ${verb}: its state is true, and delete --force removes everything`,
      async () => {
        const before = inventory();
        const bundle = layered(["sleep", "1000"]);
        for (let k = 0; k < TRIES; k++) {
          const id = newId();
          const ms = k * (isSlow ? 20 : 1.5);
          await killedAfter(ms, [...verb.split(" "), "-b", bundle.path, id]);
          await expectTruthThenNothing(id, `${verb} killed after ${ms.toFixed(1)} ms`);
        }
        expectNothingLeft(before);
      },
      180_000,
    );
  }

  root(
    "during start, kill and delete: the same",
    async () => {
      const before = inventory();
      const bundle = layered(["sleep", "1000"]);
      for (const verb of [["start"], ["delete", "--force"], ["kill"], ["delete"]]) {
        for (let k = 0; k < TRIES / 4; k++) {
          const { id } = verb[0] === "start" ? createContainer(bundle) : startContainer(bundle);
          const ms = k * (isSlow ? 20 : 0.9);
          await killedAfter(ms, [...verb, id]);
          await expectTruthThenNothing(id, `${verb.join(" ")} killed after ${ms.toFixed(1)} ms`);
        }
      }
      expectNothingLeft(before);
    },
    180_000,
  );

  root(
    "during exec: the container is what it was",
    async () => {
      const { id } = startContainer(layered(["sleep", "1000"]));
      for (let k = 0; k < TRIES / 2; k++) {
        await killedAfter(k * (isSlow ? 20 : 0.6), ["exec", id, "true"]);
        expect(stateOf(id)?.status).toBe("running");
      }
      expect(runOk(["exec", id, "echo", "well"])).toBe("well\n");
    },
    120_000,
  );

  root("in the foreground: the container is found by list, and removed by delete --force", async () => {
    const before = inventory();
    const id = newId();
    const child = spawnChild(RUNTIME, ["run", "-b", layered(["sleep", "1000"]).path, id], { stdio: "ignore" });
    await until(() => stateOf(id)?.status === "running", "it runs");
    // As the monitor, which is what waits by then.
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("exit", resolve));
    expect(runOk(["list", "-q"]).split("\n")).toContain(id);
    await expectTruthThenNothing(id, "foreground");
    expectNothingLeft(before);
  });
});
