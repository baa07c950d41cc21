/** Podman as it comes on a machine that runs systemd: each container a scope in machine.slice. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { busyboxTar } from "../../helpers/engine-image.ts";
import { missing } from "../../helpers/needs.ts";
import { RUNTIME, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, systemd: true, cgroup: "v2", commands: ["podman"] });

let env: Record<string, string>;

function podman(...args: string[]) {
  const child = spawnSync("podman", ["--runtime", RUNTIME, ...args], { encoding: "utf8", env, timeout: 120_000 });
  return { code: child.status, stdout: child.stdout.trim(), stderr: child.stderr };
}

function show(unit: string, property: string): string {
  const { stdout } = spawnSync("systemctl", ["show", "--value", "-p", property, unit], { encoding: "utf8" });
  return stdout.trim();
}

const NET = "--network=none";

(reason === undefined ? describe : describe.skip)(`podman, systemd${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(() => {
    const dir = scratch("podman");
    const [root, run] = [join(dir, "root"), join(dir, "run")];
    for (const path of [root, run]) mkdirSync(path);
    const [storage, containers] = [join(dir, "storage.conf"), join(dir, "containers.conf")];
    writeFileSync(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${root}"\nrunroot = "${run}"\n`);
    const engine = 'cgroup_manager = "systemd"\nevents_logger = "none"\nruntime_supports_json = ["tsrun"]\n';
    writeFileSync(containers, `[engine]\n${engine}[containers]\nlog_driver = "k8s-file"\n`);
    const policy = join(dir, "policy.json");
    writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}\n');
    const PATH = process.env.PATH ?? "";
    env = { PATH, HOME: dir, CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: containers };
    const made = podman("import", "--signature-policy", policy, busyboxTar(), "bb");
    expect(made.code, made.stderr).toBe(0);
  }, 240_000);

  afterAll(() => {
    podman("rm", "-f", "-a", "-t", "0");
  }, 120_000);

  test("run gives what the container prints, and its exit code", () => {
    expect(podman("run", "--rm", NET, "bb", "sh", "-c", "echo hi; exit 3")).toEqual({
      code: 3,
      stdout: "hi",
      stderr: "",
    });
  }, 120_000);

  test("limits are properties of the scope; a reload of systemd leaves them, and the devices", async () => {
    const limits = ["-m", "64m", "--pids-limit", "33", "--cpus", "0.5"];
    const { stdout: id, stderr } = podman("run", "-d", NET, ...limits, "bb", "sleep", "3600");
    expect(stderr).toBe("");
    const unit = `libpod-${id}.scope`;
    expect(show(unit, "ControlGroup")).toBe(`/machine.slice/${unit}`);
    expect(show(unit, "MemoryMax")).toBe(String(64 << 20));
    expect(show(unit, "TasksMax")).toBe("33");
    expect(show(unit, "CPUQuotaPerSecUSec")).toBe("500ms");
    expect(podman("exec", id, "sh", "-c", "echo in").stdout).toBe("in");
    expect(spawnSync("systemctl", ["daemon-reload"]).status).toBe(0);
    expect(readFileSync(`/sys/fs/cgroup/machine.slice/${unit}/memory.max`, "utf8").trim()).toBe(String(64 << 20));
    expect(podman("exec", id, "sh", "-c", ": </dev/null && echo open").stdout).toBe("open");
    expect(podman("pause", id).code).toBe(0);
    expect(podman("inspect", "-f", "{{.State.Status}}", id).stdout).toBe("paused");
    expect(podman("unpause", id).code).toBe(0);
    expect(podman("stop", "-t", "0", id).code).toBe(0);
    expect(podman("inspect", "-f", "{{.State.ExitCode}}", id).stdout).toBe("137");
    expect(podman("rm", id).code).toBe(0);
    await until(() => show(unit, "LoadState") === "not-found", "the unit goes");
  }, 240_000);
});
