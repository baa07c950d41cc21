/** Under containerd, by its own client ctr, in runc's place. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Containerd, RUNTIME_FLAGS, startContainerd } from "../../helpers/containerd.ts";
import { missing } from "../../helpers/needs.ts";
import { until } from "../../helpers/runtime.ts";

const reason = missing({ root: true, tsrun: true, native: true, commands: ["containerd", "ctr"] });
let engine: Containerd;

const runArgs = (id: string, flags: string[], ...command: string[]) => engine.runTask(id, flags, ...command);
const ok = (...args: string[]) => engine.ok(...args);

(reason === undefined ? describe : describe.skip)(`containerd${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(async () => {
    engine = await startContainerd();
  }, 60_000);
  afterAll(() => engine?.stop(), 30_000);

  test("a command runs, with its input and its exit code", () => {
    expect(runArgs("hi", [], "echo", "hi")).toMatchObject({ code: 0, stdout: "hi\n" });
    expect(runArgs("seven", [], "sh", "-c", "exit 7").code).toBe(7);
  });

  test("a command that is missing is told in the words that engines look for", () => {
    const result = runArgs("missing", [], "nosuch");
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('exec: "nosuch": executable file not found in $PATH');
  });

  test("limits, mounts and seccomp", () => {
    const flags = ["--memory-limit", "67108864", "--seccomp"];
    const script = "grep Seccomp: /proc/self/status | tr '\\t' ' '; touch /share/x 2>/dev/null || echo ro";
    const mount = ["--mount", "type=bind,src=/usr/share,dst=/share,options=rbind:ro"];
    expect(runArgs("limits", [...flags, ...mount], "sh", "-c", script).stdout).toBe("Seccomp: 2\nro\n");
  });

  test("detached: exec, ps, metrics, pause, resume, kill, delete", async () => {
    engine.startTask("long", [], "sleep", "1000");
    expect(engine.taskStatus("long")).toBe("RUNNING");
    expect(ok("task", "exec", "--exec-id", "e1", "long", "echo", "in")).toBe("in\n");
    expect(engine.ctr(["task", "exec", "--exec-id", "e2", "long", "sh", "-c", "exit 9"]).code).toBe(9);
    expect(ok("task", "ps", "long")).toMatch(/^\d+/m);
    expect(ok("task", "metrics", "long")).toMatch(/memory/);
    ok("task", "pause", "long");
    expect(engine.taskStatus("long")).toBe("PAUSED");
    ok("task", "resume", "long");
    ok("task", "kill", "-s", "SIGKILL", "long");
    await until(() => engine.taskStatus("long") === "STOPPED", "the task is stopped");
    ok("task", "delete", "long");
    ok("container", "delete", "long");
    expect(ok("container", "ls", "-q")).toBe("");
  });

  test("a terminal", () => {
    const { address, rootfs } = engine;
    const script = `ctr --address ${address} run --rm -t ${RUNTIME_FLAGS.join(" ")} --rootfs ${rootfs} tty sh -c 'test -t 0 && echo tty'`;
    const result = spawnSync("script", ["-qec", script, "/dev/null"], { encoding: "utf8", timeout: 30_000 });
    expect(result.stdout).toContain("tty");
  });
});
