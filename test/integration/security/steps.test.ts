/**
 * Something goes wrong at each system call, one after another: the runtime or the init is killed there, or the call
 * fails as it would on a machine that has no more descriptors, memory, space or processes. Whatever is left, `state` is
 * true, `delete --force` removes all of it, and who failed says why. Of the calls a sample is taken, which TSRUN_FUZZ_SEED
 * chooses: a smaller one in the emulated guest, and of a few where TSRUN_BRIEF=1. TSRUN_EVERY_STEP=1 leaves out none.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { type Fault, runFaulty, type WHO } from "../../helpers/fault.ts";
import { needs } from "../../helpers/needs.ts";
import { Random } from "../../helpers/random-life.ts";
import {
  cgroupsNamed,
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  run,
  runOk,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { TEST_PREFIX } from "../../helpers/scratch.ts";

const isBrief = process.env.TSRUN_BRIEF === "1";
const STRIDE = process.env.TSRUN_EVERY_STEP === "1" ? 1 : process.env.TSRUN_VM === "1" ? 60 : 12;
const SEED = Number(process.env.TSRUN_FUZZ_SEED ?? Date.now() % 2 ** 31);
const ERRORS: Fault[] = ["EMFILE", "ENOMEM", "ENOSPC", "EAGAIN", "EIO"];
const TIMEOUT_MS = 600_000;

/** Who makes the cgroups, as flags of the command line. */
type Driver = [] | ["--systemd-cgroup"];

const step = (driver: Driver, name: string, body: () => unknown) =>
  needs({ root: true, tsrun: true, compiled: "fault", systemd: driver.length > 0 })(
    `${name}${driver.length > 0 ? ", with systemd" : ""}`,
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
  /** About how many system calls it makes. */
  calls: number;
  /** The command line that something happens to. */
  args: (id: string) => string[];
  /** What there is before. */
  before: (bundle: Bundle, driver: Driver) => string;
  /** What must hold when it failed without being killed. */
  failed?: (id: string, what: string) => void;
  /** What must hold when it says that all went well. */
  worked?: (id: string, what: string) => unknown;
}

function created({ path }: Bundle, driver: Driver): string {
  const id = newId();
  const { code, stderr } = runDetached([...driver, "create", "-b", path, id]);
  if (code !== 0) throw new Error(stderr());
  return id;
}

function started(bundle: Bundle, driver: Driver): string {
  const id = created(bundle, driver);
  runOk(["start", id]);
  return id;
}

const hasStatus =
  (...statuses: (string | undefined)[]) =>
  (id: string, what: string) =>
    expect(statuses, what).toContain(stateOf(id)?.status);

function cases(path: string): Record<string, Case> {
  return {
    create: {
      calls: 230,
      args: (id) => ["create", "-b", path, id],
      before: () => newId(),
      failed: hasStatus(undefined),
      worked: hasStatus("created"),
    },
    "run -d": {
      calls: 230,
      args: (id) => ["run", "-d", "-b", path, id],
      before: () => newId(),
      failed: hasStatus(undefined),
      worked: hasStatus("running"),
    },
    start: {
      calls: 50,
      args: (id) => ["start", id],
      before: created,
      failed: hasStatus("created", "running", "stopped"),
      worked: hasStatus("running"),
    },
    exec: {
      calls: 250,
      args: (id) => ["exec", id, "true"],
      before: started,
      failed: hasStatus("running"),
      worked: hasStatus("running"),
    },
    kill: {
      calls: 40,
      args: (id) => ["kill", id, "KILL"],
      before: started,
      failed: hasStatus("running", "stopped"),
      worked: (id, what) => until(() => stateOf(id)?.status === "stopped", what),
    },
    pause: {
      calls: 40,
      args: (id) => ["pause", id],
      before: started,
      failed: hasStatus("running", "paused"),
      worked: hasStatus("paused"),
    },
    update: {
      calls: 45,
      args: (id) => ["update", "--pids-limit", "50", id],
      before: started,
      failed: hasStatus("running"),
      worked: hasStatus("running"),
    },
    delete: {
      calls: 60,
      args: (id) => ["delete", "--force", id],
      before: started,
      // Paused: who ends all of a cgroup's processes freezes it meanwhile.
      failed: hasStatus("running", "paused", "stopped", undefined),
      worked: hasStatus(undefined),
    },
    list: {
      calls: 35,
      args: () => ["list"],
      before: started,
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

/** What systemd knows of the containers of this process. */
function units(): string {
  if (!existsSync("/run/systemd/system")) return "";
  const args = ["list-units", "--all", "--plain", "--no-legend", `*${TEST_PREFIX}*`];
  return spawnSync("systemctl", args, { encoding: "utf8" }).stdout;
}

async function tryEach(name: string, fault: Fault, who: keyof typeof WHO, driver: Driver = []): Promise<void> {
  const files = inventory();
  const made = bundle();
  const one = cases(made.path)[name] as Case;
  const full = fault === "kill" ? STRIDE : Math.ceil(STRIDE / 2);
  const stride = isBrief ? one.calls : full;
  for (let nth = 1 + new Random(SEED).below(stride); ; nth += stride) {
    const what = `${name}: ${fault} at call ${nth} of the ${who}`;
    const id = one.before(made, driver);
    const ran = runFaulty(fault, nth, who, [...driver, ...one.args(id)]);
    // Killed at the call where it waits to be started, the container was made all the same.
    const isOver = fault === "kill" && who === "container" && stateOf(id)?.status === "stopped";
    if (ran?.code === 0 && isOver) run(["list"]);
    else if (ran?.code === 0) await one.worked?.(id, what);
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
    if (ran === undefined || isBrief) break;
  }
  expect(cgroupsNamed()).toEqual(files.cgroups);
  expectNothingLeft(files);
  await until(() => units() === "", `no unit is left: ${units()}`);
}

const VERBS = isBrief
  ? ["create", "run -d", "start", "exec", "delete"]
  : ["create", "run -d", "start", "exec", "kill", "pause", "update", "delete"];
const FAILING = isBrief ? ["create"] : [...VERBS, "list"];
const DRIVERS: Driver[] = [[], ["--systemd-cgroup"]];

describe(`killed at any system call (seed ${SEED})`, () => {
  for (const driver of DRIVERS) {
    for (const name of VERBS) {
      step(driver, `the runtime, in ${name}: what is left is told truly and removed entirely`, () =>
        tryEach(name, "kill", "runtime", driver),
      );
    }
    for (const who of ["init", "container"] as const) {
      step(driver, `the process of the ${who}, in create: it fails with words and leaves nothing`, () =>
        tryEach("create", "kill", who, driver),
      );
    }
  }
});

describe(`a machine that has no more of something (seed ${SEED})`, () => {
  for (const fault of ERRORS) {
    for (const name of FAILING) {
      step([], `${fault} in ${name}: it works, or says why and what is left can be removed`, () =>
        tryEach(name, fault, "runtime"),
      );
    }
    if (!isBrief) {
      step([], `${fault} in the container's process: create says why and leaves nothing`, () =>
        tryEach("create", fault, "container"),
      );
      for (const name of ["create", "delete"]) {
        step(["--systemd-cgroup"], `${fault} in ${name}: it works, or says why and what is left can be removed`, () =>
          tryEach(name, fault, "runtime", ["--systemd-cgroup"]),
        );
      }
    }
  }
});
