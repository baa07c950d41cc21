/** How a container ended, as `state` tells it. What is told of one that ran out of memory is in cgroup/modes. */
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
} from "../helpers/runtime.ts";

const own = needs({ root: true, tsrun: true, cgroup: ["v1", "v2"] });

afterEach(deleteContainers);
let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => expectNothingLeft(before));

const exitOf = (id: string) => JSON.parse(runOk(["state", id])).exit;

/** Runs to its end and keeps what is left. */
function keep(bundle: Bundle): string {
  const id = newId();
  run(["run", "--keep", "-b", bundle.path, id]);
  return id;
}

describe("post-mortem", () => {
  own("a code, a signal and no core dump", () => {
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

  own("the state fits the schema of the spec, and has no exit while it runs", () => {
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

  own("a container that is not kept leaves no record of its end", () => {
    const id = newId();
    expect(run(["run", "-b", makeBundle({ args: ["sh", "-c", "exit 4"] }).path, id]).code).toBe(4);
    expect(readdirSync("/run/tsrun")).not.toContain(id);
    const kept = keep(makeBundle({ args: ["true"] }));
    expect(readdirSync(join("/run/tsrun", kept)).sort()).toEqual(["config.json", "exit", "state.json"]);
    runOk(["delete", kept]);
    expect(readdirSync("/run/tsrun")).not.toContain(kept);
  });
});
