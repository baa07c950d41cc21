/** Under containerd, by its own client ctr, in runc's place. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { busyboxRootfs } from "../../helpers/bundle.ts";
import { type Daemon, directories, startDaemon } from "../../helpers/engine-image.ts";
import { missing } from "../../helpers/needs.ts";
import { RUNTIME, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, native: true, commands: ["containerd", "ctr"] });
let daemon: Daemon;
let address: string;
let rootfs: string;

function ctr(args: string[], input = "") {
  const command = ["--address", address, ...args];
  const child = spawnSync("ctr", command, { encoding: "utf8", input, timeout: 60_000 });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

const ours = ["--runtime", "io.containerd.runc.v2", "--runc-binary", RUNTIME];
const runArgs = (id: string, flags: string[], ...command: string[]) =>
  ctr(["run", "--rm", ...ours, ...flags, "--rootfs", rootfs, id, ...command]);
const ok = (...args: string[]) => {
  const result = ctr(args);
  if (result.code !== 0) throw new Error(`ctr ${args.join(" ")}: ${result.stderr}`);
  return result.stdout;
};

(reason === undefined ? describe : describe.skip)(`containerd${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(async () => {
    const [root, state, run] = directories("root", "state", "run") as [string, string, string];
    address = join(run, "containerd.sock");
    rootfs = scratch("rootfs");
    busyboxRootfs(rootfs);
    const config = join(run, "config.toml");
    writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    const command = ["containerd", "--config", config, "--root", root, "--state", state, "--address", address];
    daemon = await startDaemon(command, () => ctr(["version"]).code === 0);
  }, 60_000);
  afterAll(async () => {
    await daemon?.stop();
  }, 30_000);

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
    ok("run", "-d", ...ours, "--rootfs", rootfs, "long", "sleep", "1000");
    const status = () =>
      ok("task", "ls")
        .split("\n")
        .find((line) => line.startsWith("long "))
        ?.trim()
        .split(/\s+/)[2];
    expect(status()).toBe("RUNNING");
    expect(ok("task", "exec", "--exec-id", "e1", "long", "echo", "in")).toBe("in\n");
    expect(ctr(["task", "exec", "--exec-id", "e2", "long", "sh", "-c", "exit 9"]).code).toBe(9);
    expect(ok("task", "ps", "long")).toMatch(/^\d+/m);
    expect(ok("task", "metrics", "long")).toMatch(/memory/);
    ok("task", "pause", "long");
    expect(status()).toBe("PAUSED");
    ok("task", "resume", "long");
    ok("task", "kill", "-s", "SIGKILL", "long");
    await until(() => status() === "STOPPED", "the task is stopped");
    ok("task", "delete", "long");
    ok("container", "delete", "long");
    expect(ok("container", "ls", "-q")).toBe("");
  });

  test("a terminal", () => {
    const script = `ctr --address ${address} run --rm -t ${ours.join(" ")} --rootfs ${rootfs} tty sh -c 'test -t 0 && echo tty'`;
    const result = spawnSync("script", ["-qec", script, "/dev/null"], { encoding: "utf8", timeout: 30_000 });
    expect(result.stdout).toContain("tty");
  });
});
