/** Docker with tsrun as its runtime: Debian's docker.io, with everything it keeps in a directory that is thrown away. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar, directories, startDaemon } from "./engine-image.ts";
import { ENGINE_MS } from "./patience.ts";
import { ROOT, RUNTIME } from "./runtime.ts";
import { TEST_PREFIX } from "./scratch.ts";

export const IMAGE = "tsrun-test";

export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Docker {
  /** The environment in which `docker` talks to this daemon. */
  env: NodeJS.ProcessEnv;
  /** Of the daemon. */
  pid: number;
  run(args: string[], input?: string): Output;
  /** What it printed, without the last line end; fails unless it exits with 0. */
  ok(args: string[]): string;
  /** Removes all containers, and ends the daemon. */
  stop(): Promise<void>;
}

/** No bridge, as the machine's firewall is left alone. */
const NO_BRIDGE = ["--bridge=none", "--iptables=false", "--ip6tables=false"];

/**
 * Starts the daemon with flags of the test, and gives it an image made from busybox. With `before`, a shell script, it has
 * network and mounts of its own, which the script sets up.
 */
export async function startDocker(flags: readonly string[] = [], more: object = {}, before?: string): Promise<Docker> {
  const [data, exec, run] = directories("data", "exec", "run") as [string, string, string];
  const host = `unix://${join(run, "docker.sock")}`;
  const env = { ...process.env, DOCKER_HOST: host };
  const docker = (args: string[], input = ""): Output => {
    const child = spawnSync("docker", args, { encoding: "utf8", env, input, timeout: ENGINE_MS });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  };
  const ok = (args: string[]) => {
    const result = docker(args);
    if (result.code !== 0) throw new Error(`docker ${args.join(" ")}: ${result.stderr}`);
    return result.stdout.trim();
  };
  // Root of most CI machines may not raise limits.
  const quiet = ["--default-ulimit=nofile=1024:1024", ...(before === undefined ? NO_BRIDGE : [])];
  // Where a containerd of the machine runs, the daemon takes that one, and shares it with the machine's own Docker.
  const apart = ["--containerd-namespace", TEST_PREFIX];
  const places = ["--data-root", data, "--exec-root", exec, "-p", join(run, "pid"), "-H", host];
  const config = join(run, "daemon.json");
  // What users are told of, and what is of this machine.
  const told = readFileSync(join(ROOT, "config/engines/docker-daemon.json"), "utf8");
  const { runtimes } = JSON.parse(told.replaceAll("/usr/local/bin/tsrun", RUNTIME));
  writeFileSync(config, JSON.stringify({ runtimes, "deprecated-key-path": join(run, "key.json"), ...more }));
  const ours = ["--default-runtime=tsrun", "--storage-driver=vfs"];
  const dockerd = ["dockerd", "--config-file", config, ...places, ...apart, ...quiet, ...ours, ...flags];
  const own = ["unshare", "--net", "--mount", "sh", "-c", `${before} && exec "$@"`, "dockerd"];
  const command = before === undefined ? dockerd : [...own, ...dockerd];
  const daemon = await startDaemon(command, () => docker(["version"]).code === 0);
  ok(["import", busyboxTar(), IMAGE]);
  return {
    env,
    pid: daemon.pid,
    run: docker,
    ok,
    async stop() {
      for (const id of docker(["ps", "-aq"]).stdout.split("\n").filter(Boolean)) docker(["rm", "-f", id]);
      await daemon.stop();
    },
  };
}
