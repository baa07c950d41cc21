/** The shortest way of a container: a bundle runs and its exit code comes back. */
import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { syscall } from "../../src/sys/ffi.ts";
import { waitid } from "../../src/sys/process.ts";
import { makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  isTsrun,
  newId,
  run,
  runBundle,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";

/** ptrace(2) */
const PTRACE = process.arch === "arm64" ? 117 : 101;
const PTRACE_SEIZE = 0x4206;

/** tsrun starts the container and then becomes its monitor; until then a signal ends it as any program. */
function isWaiting(pid: number): boolean {
  return !isTsrun || readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "tsrun";
}

describe("exit code", () => {
  const root = needs({ root: true });
  const own = needs({ root: true, tsrun: true });

  root("the exit code of the process is the exit code of run", () => {
    expect(runBundle(makeBundle({ args: ["true"] })).code).toBe(0);
    expect(runBundle(makeBundle({ args: ["sh", "-c", "exit 37"] })).code).toBe(37);
  });

  root("a process killed by a signal gives 128 and the signal's number", async () => {
    const id = newId();
    const started = spawn(["run", "-b", makeBundle({ args: ["sh", "-c", "echo ready; sleep 60"] }).path, id]);
    await started.waitFor("ready");
    runOk(["kill", id, "KILL"]);
    expect(await started.exit).toMatchObject({ code: 137, signal: null });
  });

  own("the code is waited for while somebody who traces the process has yet to see its end", async () => {
    const id = newId();
    const started = spawn(["run", "-b", makeBundle({ args: ["sh", "-c", "echo ready; sleep 60"] }).path, id]);
    await started.waitFor("ready");
    const pid = stateOf(id)?.pid as number;
    expect(syscall(PTRACE, PTRACE_SEIZE, pid, 0, 0)).toBe(0);
    process.kill(pid, "SIGKILL");
    await until(() => readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "), "it has ended");
    let exited = false;
    started.exit.then(() => {
      exited = true;
    });
    // A monitor that goes by the pidfd alone ends at once; nothing tells that one goes on.
    await new Promise((done) => setTimeout(done, 300));
    expect(exited).toBe(false);
    waitid({ pid });
    expect(await started.exit).toMatchObject({ code: 137, signal: null });
  });

  root("standard input reaches the process and its two outputs stay apart", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "cat; echo problem >&2"] });
    const result = run(["run", "-b", bundle.path, newId()], { input: "line\n" });
    expect(result).toMatchObject({ code: 0, stdout: "line\n", stderr: "problem\n" });
  });

  root("a signal sent to run reaches the process", async () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"],
    });
    const started = spawn(["run", "-b", bundle.path, newId()]);
    await started.waitFor("ready");
    await until(() => isWaiting(started.pid), "run waits in the foreground");
    started.child.kill("SIGTERM");
    expect(await started.exit).toMatchObject({ code: 9, stdout: "ready\ngot\n" });
  });

  root("a run leaves no mount, cgroup, process or file behind", () => {
    const before = inventory();
    runBundle(makeBundle());
    expectNothingLeft(before);
  });
});
