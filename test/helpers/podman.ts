/** Podman on a machine that may be written to, the virtual one: storage that is thrown away, and an image of busybox. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { busyboxTar } from "./engine-image.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export interface Podman {
  run(...args: string[]): { code: number | null; stdout: string; stderr: string };
  /** What it printed; fails unless it exits with 0. */
  ok(...args: string[]): string;
  /** A file that lets it take images from anywhere. */
  policy: string;
  /** Removes all containers. */
  clear(): void;
}

/** With an image `bb` made from busybox. */
export function startPodman(manager: "systemd" | "cgroupfs"): Podman {
  const dir = scratch("podman");
  const [root, run] = [join(dir, "root"), join(dir, "run")];
  for (const path of [root, run]) mkdirSync(path);
  const [storage, containers] = [join(dir, "storage.conf"), join(dir, "containers.conf")];
  writeFileSync(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${root}"\nrunroot = "${run}"\n`);
  const engine = `cgroup_manager = "${manager}"\nevents_logger = "none"\nruntime_supports_json = ["tsrun"]\n`;
  writeFileSync(containers, `[engine]\n${engine}[containers]\nlog_driver = "k8s-file"\n`);
  const policy = join(dir, "policy.json");
  writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}\n');
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: dir,
    CONTAINERS_STORAGE_CONF: storage,
    CONTAINERS_CONF: containers,
  };
  const podman: Podman["run"] = (...args) => {
    const child = spawnSync("podman", ["--runtime", RUNTIME, ...args], { encoding: "utf8", env, timeout: 120_000 });
    return { code: child.status, stdout: child.stdout.trim(), stderr: child.stderr };
  };
  const ok = (...args: string[]) => {
    const result = podman(...args);
    expect(result.code, `podman ${args.join(" ")}: ${result.stderr}`).toBe(0);
    return result.stdout;
  };
  ok("import", "--signature-policy", policy, busyboxTar(), "bb");
  return { run: podman, ok, policy, clear: () => podman("rm", "-f", "-a", "-t", "0") };
}
