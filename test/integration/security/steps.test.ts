/**
 * Something goes wrong at each system call, one after another: the runtime or the init is killed there, or the call
 * fails as it would on a machine that has no more descriptors, memory, space or processes. Whatever is left, `state` is
 * true, `delete --force` removes all of it, and who failed says why. TSRUN_EVERY_STEP=1 leaves out no call.
 */
import { describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { type Fault, runFaulty, type WHO } from "../../helpers/fault.ts";
import { needs } from "../../helpers/needs.ts";
import {
  cgroupsNamed,
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  run,
  stateOf,
  until,
} from "../../helpers/runtime.ts";

const STRIDE = process.env.TSRUN_EVERY_STEP === "1" ? 1 : 12;
const ERRORS: Fault[] = ["EMFILE", "ENOMEM", "ENOSPC", "EAGAIN", "EIO"];
const TIMEOUT_MS = 600_000;

const root = (name: string, body: () => unknown) =>
  needs({ root: true, tsrun: true, native: true, commands: process.arch === "x64" ? ["gcc"] : ["x86_64"] })(
    name,
    body,
    TIMEOUT_MS,
  );

/** With everything that has to be made and removed: layers, cgroups, a hook. */
function bundle(): Bundle {
  return makeBundle({
    args: ["sleep", "1000"],
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
      spec.linux.resources = { ...spec.linux.resources, pids: { limit: 100 } };
      spec.hooks = { poststop: [{ path: "/bin/true" }] };
    },
  });
}

interface Case {
  /** The command line that something happens to. */
  args: (id: string) => string[];
  /** What there is before. */
  before: (bundle: Bundle) => string;
  /** What must hold when it failed without being killed. */
  failed?: (id: string, what: string) => void;
  /** What must hold when it says that all went well. */
  worked?: (id: string, what: string) => unknown;
}

const hasStatus =
  (...statuses: (string | undefined)[]) =>
  (id: string, what: string) =>
    expect(statuses, what).toContain(stateOf(id)?.status);

function cases(path: string): Record<string, Case> {
  return {
    create: {
      args: (id) => ["create", "-b", path, id],
      before: () => newId(),
      failed: hasStatus(undefined),
      worked: hasStatus("created"),
    },
    "run -d": {
      args: (id) => ["run", "-d", "-b", path, id],
      before: () => newId(),
      failed: hasStatus(undefined),
      worked: hasStatus("running"),
    },
    start: {
      args: (id) => ["start", id],
      before: (b) => createContainer(b).id,
      failed: hasStatus("created", "running", "stopped"),
      worked: hasStatus("running"),
    },
    exec: {
      args: (id) => ["exec", id, "true"],
      before: (b) => startContainer(b).id,
      failed: hasStatus("running"),
      worked: hasStatus("running"),
    },
    kill: {
      args: (id) => ["kill", id, "KILL"],
      before: (b) => startContainer(b).id,
      failed: hasStatus("running", "stopped"),
      worked: (id, what) => until(() => stateOf(id)?.status === "stopped", what),
    },
    pause: {
      args: (id) => ["pause", id],
      before: (b) => startContainer(b).id,
      failed: hasStatus("running", "paused"),
      worked: hasStatus("paused"),
    },
    update: {
      args: (id) => ["update", "--pids-limit", "50", id],
      before: (b) => startContainer(b).id,
      failed: hasStatus("running"),
      worked: hasStatus("running"),
    },
    delete: {
      args: (id) => ["delete", "--force", id],
      before: (b) => startContainer(b).id,
      // Paused: who ends all of a cgroup's processes freezes it meanwhile.
      failed: hasStatus("running", "paused", "stopped", undefined),
      worked: hasStatus(undefined),
    },
    list: {
      args: () => ["list"],
      before: (b) => startContainer(b).id,
      failed: hasStatus("running"),
      worked: hasStatus("running"),
    },
  };
}

/** Words for a reader, whatever it was. */
function expectWords(stderr: string, what: string): void {
  expect(stderr, what).toMatch(/^tsrun: /);
  expect(stderr, what).not.toMatch(/internal error|^\s+at |undefined is not|not a function/m);
}

async function expectRemovable(id: string, what: string): Promise<void> {
  const began = Date.now();
  const { code, stderr } = run(["delete", "--force", id]);
  expect({ what, code, stderr }).toEqual({ what, code: 0, stderr: "" });
  expect(Date.now() - began, what).toBeLessThan(10_000);
  expect(stateOf(id), what).toBeUndefined();
  await until(() => processesNamed(id).length === 0, `${what}: its processes end: ${processesNamed(id).join(", ")}`);
}

async function tryEach(name: string, fault: Fault, who: keyof typeof WHO): Promise<void> {
  const files = inventory();
  const made = bundle();
  const one = cases(made.path)[name] as Case;
  const stride = fault === "kill" ? STRIDE : Math.ceil(STRIDE / 2);
  for (let nth = 1 + Math.floor(Math.random() * stride); ; nth += stride) {
    const what = `${name}: ${fault} at call ${nth} of the ${who}`;
    const id = one.before(made);
    const ran = runFaulty(fault, nth, who, one.args(id));
    if (ran?.code === 0) await one.worked?.(id, what);
    else if (ran !== undefined && ran.code !== 137) {
      expectWords(ran.stderr(), what);
      one.failed?.(id, `${what}: ${ran.stderr()}`);
    } else if (ran !== undefined) {
      // Whatever it was doing: what is said of it is true.
      const state = stateOf(id);
      if (state?.status === "running" || state?.status === "created") process.kill(state.pid, 0);
      run(["list"]);
    }
    await expectRemovable(id, what);
    if (ran === undefined) break;
  }
  expect(cgroupsNamed()).toEqual(files.cgroups);
  expectNothingLeft(files);
}

describe("killed at any system call", () => {
  for (const name of ["create", "run -d", "start", "exec", "kill", "pause", "update", "delete"]) {
    root(`the runtime, in ${name}: what is left is told truly and removed entirely`, () =>
      tryEach(name, "kill", "runtime"),
    );
  }
  for (const who of ["init", "container"] as const) {
    root(`the process of the ${who}, in create: it fails with words and leaves nothing`, () =>
      tryEach("create", "kill", who),
    );
  }
});

describe("a machine that has no more of something", () => {
  for (const fault of ERRORS) {
    for (const name of ["create", "run -d", "start", "exec", "kill", "pause", "update", "delete", "list"]) {
      root(`${fault} in ${name}: it works, or says why and what is left can be removed`, () =>
        tryEach(name, fault, "runtime"),
      );
    }
    root(`${fault} in the container's process: create says why and leaves nothing`, () =>
      tryEach("create", fault, "container"),
    );
  }
});
