/**
 * A hook that never ends, of each kind: `state` and `list` answer, whoever wants the container is told who has it, and
 * once its caller is gone `delete --force` removes everything in bounded time.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  run,
  runOk,
  type Started,
  spawn,
  stateOf,
  until,
} from "../../helpers/runtime.ts";

const root = needs({ root: true, tsrun: true });

type Stage = "prestart" | "createRuntime" | "createContainer" | "startContainer" | "poststart" | "poststop";

/** A time that nobody else sleeps, so that these processes are told from all others. */
const FOREVER = String(1_000_000 + process.pid);

function hanging(stage: Stage): string {
  return makeBundle({
    args: ["sleep", "1000"],
    edit: (spec) => (spec.hooks = { [stage]: [{ path: "/bin/sleep", args: ["sleep", FOREVER] }] }),
  }).path;
}

/** Pids of hooks. */
function hooks(): string[] {
  return readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8") === `sleep\0${FOREVER}\0`;
    } catch {
      return false; // It has ended.
    }
  });
}

/** A hook is the caller's own program, and lives on without the runtime. */
async function endHooks(): Promise<void> {
  for (const pid of hooks()) process.kill(Number(pid), "SIGKILL");
  await until(() => hooks().length === 0 && processesNamed().length === 0, "the hook ends");
}

/** Brings a container to where the hook hangs. @returns who waits for it */
async function hang(stage: Stage, id: string): Promise<Started> {
  const quiet = { stdio: "ignore" } as const;
  const path = hanging(stage);
  let caller: Started;
  if (["prestart", "createRuntime", "createContainer"].includes(stage)) {
    caller = spawn(["create", "-b", path, id], quiet);
  } else {
    expect(runDetached(["create", "-b", path, id]).code).toBe(0);
    if (stage === "poststop") {
      runOk(["kill", id, "KILL"]);
      await until(() => stateOf(id)?.status === "stopped", "it ends");
    }
    caller = spawn(stage === "poststop" ? ["delete", id] : ["start", id], quiet);
  }
  await until(() => hooks().length > 0, "the hook runs");
  return caller;
}

const STATUS: Record<Stage, string> = {
  prestart: "creating",
  createRuntime: "creating",
  createContainer: "creating",
  startContainer: "running",
  poststart: "running",
  poststop: "stopped",
};

describe("a hook that never ends", () => {
  for (const [stage, status] of Object.entries(STATUS) as [Stage, string][]) {
    root(
      `in ${stage}: state and list answer, and with its caller killed delete --force removes everything`,
      async () => {
        const before = inventory();
        const id = newId();
        const caller = await hang(stage, id);
        expect(stateOf(id)?.status).toBe(status);
        expect(runOk(["list", "-q"])).toContain(id);
        caller.child.kill("SIGKILL");
        await caller.exit;
        const began = Date.now();
        const { code, stderr } = run(["delete", "--force", id], { timeoutMs: 60_000 });
        expect(Date.now() - began).toBeLessThan(45_000);
        // It is run again, as nobody knows how far the first one came.
        if (stage === "poststop") expect(stderr).toContain("killed, as its timeout of 30 s was over");
        else expect(stderr).toBe("");
        expect(code).toBe(0);
        expect(stateOf(id)).toBeUndefined();
        await endHooks();
        expectNothingLeft(before);
      },
      120_000,
    );
  }

  for (const stage of ["prestart", "poststart"] as const) {
    root(
      `in ${stage}, with its caller alive: delete says who has the container, in bounded time`,
      async () => {
        const id = newId();
        const caller = await hang(stage, id);
        const began = Date.now();
        const { code, stderr } = run(["delete", "--force", id], { timeoutMs: 40_000 });
        expect(Date.now() - began).toBeLessThan(40_000);
        expect(code).toBe(1);
        expect(stderr).toContain("is in the hands of another tsrun");
        caller.child.kill("SIGKILL");
        await caller.exit;
        runOk(["delete", "--force", id]);
        await endHooks();
      },
      90_000,
    );
  }
});
