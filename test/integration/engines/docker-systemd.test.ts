/** Docker as it comes on a machine that runs systemd with cgroup v2: each container a scope in system.slice. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Docker, IMAGE, startDocker } from "../../helpers/docker.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { until } from "../../helpers/runtime.ts";
import { reloadSystemd, unitProperty } from "../../helpers/systemd.ts";

const docker = describeNeeds({ root: true, tsrun: true, systemd: true, cgroup: "v2", commands: ["dockerd", "docker"] });
const LONG = 240_000;

docker("docker, systemd", () => {
  let engine: Docker;
  const ok = (...args: string[]) => engine.ok(args);
  const detached = (...args: string[]) => ok("run", "-d", "--network=none", ...args);
  const inspect = (what: string, id: string) => ok("inspect", "-f", `{{.State.${what}}}`, id);

  beforeAll(async () => {
    engine = await startDocker(["--exec-opt", "native.cgroupdriver=systemd"]);
  }, LONG);
  afterAll(() => engine?.stop(), LONG);

  test("run gives what the container prints, and its exit code", () => {
    expect(ok("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}")).toBe("systemd 2");
    expect(engine.run(["run", "--rm", "--network=none", IMAGE, "sh", "-c", "echo hi; exit 3"])).toMatchObject({
      code: 3,
      stdout: "hi\n",
    });
  });

  test(
    "limits are properties of the scope and stay through a reload; update changes them, stats and exec see them, stop ends it",
    async () => {
      const limits = ["-m", "64m", "--pids-limit", "33", "--cpus", "0.5", "--cpu-shares", "512"];
      const id = detached(...limits, IMAGE, "sleep", "3600");
      const unit = `docker-${id}.scope`;
      const file = (name: string) => readFileSync(join("/sys/fs/cgroup/system.slice", unit, name), "utf8").trim();
      expect(unitProperty(unit, "ControlGroup")).toBe(`/system.slice/${unit}`);
      expect(unitProperty(unit, "MemoryMax")).toBe(String(64 << 20));
      expect(unitProperty(unit, "TasksMax")).toBe("33");
      expect(unitProperty(unit, "CPUQuotaPerSecUSec")).toBe("500ms");
      expect(unitProperty(unit, "CPUWeight")).toBe("59");
      reloadSystemd();
      expect([file("memory.max"), file("pids.max"), file("cpu.max")]).toEqual([String(64 << 20), "33", "50000 100000"]);
      expect(ok("exec", id, "sh", "-c", ": </dev/null && grep -c . /proc/self/cgroup")).toBe("1");
      expect(ok("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", id)).toMatch(/64MiB \d/);

      ok("update", "-m", "96m", "--memory-swap", "192m", "--cpus", "0.8", "--pids-limit", "44", id);
      expect(unitProperty(unit, "MemoryMax")).toBe(String(96 << 20));
      expect(unitProperty(unit, "TasksMax")).toBe("44");
      reloadSystemd();
      expect([file("memory.max"), file("pids.max"), file("cpu.max")]).toEqual([String(96 << 20), "44", "80000 100000"]);

      ok("pause", id);
      expect(inspect("Status", id)).toBe("paused");
      ok("unpause", id);
      ok("stop", "-t", "0", id);
      expect(inspect("ExitCode", id)).toBe("137");
      ok("rm", id);
      await until(() => unitProperty(unit, "LoadState") === "not-found", "the unit goes");
    },
    LONG,
  );

  test("running out of memory is reported as such", () => {
    const id = detached("-m", "24m", "--memory-swap", "24m", IMAGE, "sh", "-c", "head -c 200m /dev/zero | tail");
    ok("wait", id);
    expect(inspect("OOMKilled", id)).toBe("true");
    ok("rm", id);
  });
});
