/** Signals of a container in the foreground: what `run` passes on, what comes back, and what a killed `run` leaves. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { SOCK_STREAM } from "../../src/sys/constants.ts";
import { closeQuiet } from "../../src/sys/file.ts";
import { accept, unixConnect, unixListen } from "../../src/sys/socket.ts";
import { makeBundle } from "../helpers/bundle.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  isTsrun,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  type Started,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Runs a shell script in the foreground, up to where it has said "ready" and `run` waits. */
async function running(script: string, id = newId()): Promise<Started> {
  const started = spawn(["run", "-b", makeBundle({ args: ["sh", "-c", script] }).path, id]);
  await started.waitFor("ready");
  const isWaiting = () => !isTsrun || readFileSync(`/proc/${started.pid}/comm`, "utf8").trim() !== "tsrun";
  await until(isWaiting, "run waits in the foreground");
  return started;
}

const LOOP = "echo ready; while :; do sleep 0.05; done";

for (const signal of ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "ALRM"] as const) {
  root(`SIG${signal} reaches the process`, async () => {
    const started = await running(`trap 'echo ${signal}; exit 9' ${signal}; ${LOOP}`);
    started.child.kill(`SIG${signal}`);
    expect(await started.exit).toMatchObject({ code: 9, stdout: `ready\n${signal}\n` });
  });
}

root("one signal after another reaches the process", async () => {
  const started = await running(`trap 'echo one' USR1; trap 'echo two' USR2; trap 'exit 0' TERM; ${LOOP}`);
  started.child.kill("SIGUSR1");
  await started.waitFor("one");
  started.child.kill("SIGUSR2");
  await started.waitFor("two");
  started.child.kill("SIGTERM");
  expect(await started.exit).toMatchObject({ code: 0, stdout: "ready\none\ntwo\n" });
});

own("a caller that ignores SIGCHLD gets containers and exit codes all the same", async () => {
  const id = newId();
  const script = `trap '' CHLD; "$0" run -b "$1" "$2-run"; echo $?; "$0" create -b "$3" "$2" >&- 2>&-; echo $?; "$0" start "$2"; "$0" exec "$2" sh -c 'exit 5'; echo $?; "$0" delete -f "$2"`;
  const sleeper = makeBundle({ args: ["sleep", "100"] }).path;
  const bundle = makeBundle({ args: ["sh", "-c", "grep SigIgn /proc/self/status; exit 4"] }).path;
  const shell = spawn(["-c", script, RUNTIME, bundle, id, sleeper], { runtime: "/bin/sh" });
  expect(await shell.exit).toMatchObject({ stdout: "SigIgn:\t0000000000000000\n4\n0\n5\n", stderr: "" });
});

for (const [signal, code] of [
  ["KILL", 137],
  ["SEGV", 139],
  ["TERM", 143],
] as const) {
  root(`a process that SIG${signal} ended makes run exit with ${code}`, async () => {
    // The process is the pid 1 of its namespace, where only a handler or somebody outside makes a signal work.
    const id = newId();
    const started = spawn(["run", "-b", hostPids(`${LOOP}`).path, id]);
    await started.waitFor("ready");
    runOk(["kill", id, signal]);
    expect(await started.exit).toMatchObject({ code, signal: null });
  });
}

/** In the pid namespace of the host, where no process is protected as a pid 1 is. */
function hostPids(script: string) {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
    },
  });
}

own("a run that was killed leaves a container that list shows and delete --force removes", async () => {
  const id = newId();
  const started = await running(LOOP, id);
  started.child.kill("SIGKILL");
  await ended(started);
  const state = stateOf(id);
  expect(state?.status).toBe("running");
  expect(runOk(["list", "-q"])).toContain(id);
  runOk(["delete", "--force", id]);
  expect(stateOf(id)).toBeUndefined();
  await until(() => !isThere(state?.pid as number), "its process ends");
});

own("a run that was killed after its container ended leaves one that delete removes", async () => {
  const id = newId();
  const started = await running(LOOP, id);
  started.child.kill("SIGSTOP");
  runOk(["kill", id, "KILL"]);
  await until(() => stateOf(id)?.status === "stopped", "it stops");
  started.child.kill("SIGKILL");
  await ended(started);
  runOk(["delete", id]);
});

own("delete --force of a container that somebody runs ends that run with the signal's code", async () => {
  const id = newId();
  const started = await running(LOOP, id);
  runOk(["delete", "--force", id]);
  expect(await started.exit).toMatchObject({ code: 137, stderr: "" });
  expect(stateOf(id)).toBeUndefined();
});

root("a process that forks and ends takes its children with it", async () => {
  const id = newId();
  const result = run(["run", "-b", makeBundle({ args: ["sh", "-c", "sleep 3611 & sleep 3612 & exit 0"] }).path, id]);
  expect(result.code).toBe(0);
  expect(stateOf(id)).toBeUndefined();
});

own("without a pid namespace too, what a process leaves behind ends with it", () => {
  const bundle = hostPids("sleep 3613 > /dev/null 2>&1 & exit 3");
  expect(run(["run", "-b", bundle.path, newId()]).code).toBe(3);
});

// On v1 it depends on the kernel's version how much it lets through before it kills.
const tight = { root: true, tsrun: true, cgroup: ["v1", "v2"], native: cgroupLayout() !== "v2" } as const;

needs({ ...tight, controllers: ["memory"] })(
  "a limit too small to set the container up in says so, and nothing is left",
  () => {
    const id = newId();
    const bundle = makeBundle({
      edit: (spec) => {
        spec.linux.resources = { memory: { limit: 4096, swap: 4096 } };
      },
    });
    const result = run(["run", "-b", bundle.path, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("was killed by SIGKILL while it was being set up");
    expect(result.stderr).toContain("linux.resources.memory.limit");
    expect(stateOf(id)).toBeUndefined();
  },
);

own("an init that is killed while run waits for somebody else is reported, and nothing is left", async () => {
  // A socket that takes no more connections holds run between the set-up and the process.
  const path = join(scratch(), "busy.sock");
  const listener = unixListen(path, { type: SOCK_STREAM, backlog: 0 });
  const connection = unixConnect(path, SOCK_STREAM);
  const id = newId();
  const started = spawn(["run", "--pidfd-socket", path, "-b", makeBundle().path, id]);
  await until(() => (stateOf(id)?.pid ?? 0) !== 0, "its pid is known");
  process.kill(stateOf(id)?.pid as number, "SIGKILL");
  closeQuiet(accept(listener));
  const { code } = await started.exit;
  expect([1, 137]).toContain(code);
  expect(stateOf(id)).toBeUndefined();
  closeQuiet(connection);
  closeQuiet(listener);
});

/** Its output is still open: the container has it. */
function ended({ child }: Started): Promise<unknown> {
  return new Promise((resolve) => child.once("exit", resolve));
}

function isThere(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
