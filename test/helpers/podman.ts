/**
 * Podman, as root: storage that is thrown away, and an image of busybox. All of it in a mount namespace of its own, as
 * Podman wants to write where the sandbox leaves nothing writable.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { busyboxTar } from "./engine-image.ts";
import { ENGINE_MS } from "./patience.ts";
import { ROOT, RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Podman {
  run(...args: string[]): Output;
  /** What it printed, without white space around it; fails unless it exits with 0. */
  ok(...args: string[]): string;
  /** Any command where Podman is, such as a shell that calls it by `$P`. */
  inside(command: readonly string[], input?: string): Output;
  /** Removes all containers, and ends the mount namespace. */
  stop(): void;
}

/** With an image `bb` made from busybox. */
export async function startPodman(manager: "systemd" | "cgroupfs"): Promise<Podman> {
  const dir = scratch("podman");
  for (const name of ["root", "run", "net", ".config/containers"]) mkdirSync(join(dir, name), { recursive: true });
  const write = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  write(".config/containers/policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}\n');
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: dir,
    P: "podman --runtime tsrun",
    CONTAINERS_STORAGE_CONF: write(
      "storage.conf",
      `[storage]\ndriver = "vfs"\ngraphroot = "${join(dir, "root")}"\nrunroot = "${join(dir, "run")}"\n`,
    ),
    CONTAINERS_CONF: write("containers.conf", configuration(manager, join(dir, "net"))),
  };
  const namespace = await mountNamespace();
  const inside = (command: readonly string[], input = ""): Output => {
    const args = ["--mount", "--target", String(namespace.pid), "--", ...command];
    const child = spawnSync("nsenter", args, { encoding: "utf8", env, input, timeout: ENGINE_MS });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  };
  const run = (...args: string[]) => inside(["podman", "--runtime", "tsrun", ...args]);
  const ok = (...args: string[]) => {
    const result = run(...args);
    expect(result.code, `podman ${args.join(" ")}: ${result.stderr}`).toBe(0);
    return result.stdout.trim();
  };
  ok("import", busyboxTar(), "bb");
  return {
    run,
    ok,
    inside,
    stop() {
      run("rm", "-f", "-a", "-t", "0");
      namespace.end();
    },
  };
}

/**
 * The configuration that users are told of, and what is of this machine. Podman asks for the highest of RLIMIT_NOFILE and RLIMIT_NPROC that it can think of; where root may not raise its
 * own, as in most CI, that fails under every runtime.
 */
function configuration(manager: string, networks: string): string {
  const told = readFileSync(join(ROOT, "config/engines/containers.conf"), "utf8")
    .replaceAll("/usr/local/bin/tsrun", RUNTIME)
    .replace('cgroup_manager = "systemd"', `cgroup_manager = "${manager}"\nevents_logger = "none"`);
  return `${told}
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[network]
network_config_dir = "${networks}"
`;
}

/** A process that holds a mount namespace until it is told to end. */
async function mountNamespace(): Promise<{ pid: number; end(): void }> {
  // On a hybrid host podman 4 takes the unified hierarchy for v2.
  const script =
    "mount -t tmpfs t /var/cache && { umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; read x; }; podman unmount -a >/dev/null 2>&1; true";
  const holder = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await new Promise((resolve, reject) => {
    holder.stdout.once("data", resolve);
    holder.once("exit", () => reject(new Error("the mount namespace could not be made")));
  });
  return { pid: holder.pid ?? -1, end: () => holder.stdin.end() };
}
