/** containerd without its CRI plugin, and its own client ctr, with tsrun as the runtime. */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxRootfs } from "./bundle.ts";
import { directories, startDaemon } from "./engine-image.ts";
import { ENGINE_MS } from "./patience.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Containerd {
  address: string;
  rootfs: string;
  ctr(args: readonly string[], input?: string): Output;
  /** What it printed; fails unless it exits with 0. */
  ok(...args: string[]): string;
  /** A container in the foreground, which is removed at its end. */
  runTask(id: string, flags: readonly string[], ...command: string[]): Output;
  /** One in the background. */
  startTask(id: string, flags: readonly string[], ...command: string[]): void;
  /** What a command in the task prints; fails unless it exits with 0. */
  exec(id: string, flags: readonly string[], ...command: string[]): string;
  /** RUNNING, PAUSED, STOPPED, or undefined when there is no such task. */
  taskStatus(id: string): string | undefined;
  /** What happens from now on, one line an event. */
  events(): { text(): string; stop(): void };
  /** Removes all containers, and ends the daemon. */
  stop(): Promise<void>;
}

export const RUNTIME_FLAGS = ["--runtime", "io.containerd.runc.v2", "--runc-binary", RUNTIME];

export async function startContainerd(): Promise<Containerd> {
  const [root, state, run] = directories("root", "state", "run") as [string, string, string];
  const address = join(run, "containerd.sock");
  const rootfs = scratch("rootfs");
  busyboxRootfs(rootfs);
  const config = join(run, "config.toml");
  writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
  const ctr = (args: readonly string[], input = ""): Output => {
    const command = ["--address", address, ...args];
    const child = spawnSync("ctr", command, { encoding: "utf8", input, timeout: ENGINE_MS });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  };
  const ok = (...args: string[]) => {
    const result = ctr(args);
    if (result.code !== 0) throw new Error(`ctr ${args.join(" ")}: ${result.stderr}`);
    return result.stdout;
  };
  const command = ["containerd", "--config", config, "--root", root, "--state", state, "--address", address];
  let execs = 0;
  const daemon = await startDaemon(command, () => ctr(["version"]).code === 0);
  return {
    address,
    rootfs,
    ctr,
    ok,
    runTask: (id, flags, ...args) => ctr(["run", "--rm", ...RUNTIME_FLAGS, ...flags, "--rootfs", rootfs, id, ...args]),
    startTask: (id, flags, ...args) => {
      ok("run", "-d", ...RUNTIME_FLAGS, ...flags, "--rootfs", rootfs, id, ...args);
    },
    exec(id, flags, ...command) {
      // On a busy machine ctr may end before it has read what the process wrote.
      for (let tries = 3; ; tries--) {
        const output = ok("task", "exec", "--exec-id", `exec${++execs}`, ...flags, id, ...command);
        if (output !== "" || tries === 1) return output;
      }
    },
    taskStatus: (id) =>
      ok("task", "ls")
        .split("\n")
        .find((line) => line.startsWith(`${id} `))
        ?.trim()
        .split(/\s+/)[2],
    events() {
      const child = spawn("ctr", ["--address", address, "events"], { stdio: ["ignore", "pipe", "ignore"] });
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (more: string) => {
        text += more;
      });
      return { text: () => text, stop: () => child.kill() };
    },
    async stop() {
      for (const id of ctr(["container", "ls", "-q"]).stdout.split("\n").filter(Boolean)) {
        ctr(["task", "delete", "--force", id]);
        ctr(["container", "delete", id]);
      }
      await daemon.stop();
    },
  };
}
