/** containerd with `--runc-systemd-cgroup`, as nerdctl and the kubelet ask for it: each task a scope. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Containerd, startContainerd } from "../../helpers/containerd.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { until } from "../../helpers/runtime.ts";
import { TEST_PREFIX } from "../../helpers/scratch.ts";
import { reloadSystemd, unitProperty } from "../../helpers/systemd.ts";

const containerd = describeNeeds({
  root: true,
  tsrun: true,
  systemd: true,
  cgroup: "v2",
  commands: ["containerd", "ctr"],
});
const LONG = 240_000;

containerd("containerd, systemd", () => {
  let engine: Containerd;
  // systemd makes a hierarchy of slices of the dashes in a name.
  const slice = `${TEST_PREFIX.replaceAll("-", "_")}.slice`;
  const flags = (id: string) => ["--runc-systemd-cgroup", "--cgroup", `${slice}:ctr:${id}`];

  beforeAll(async () => {
    engine = await startContainerd();
  }, LONG);
  afterAll(async () => {
    await engine?.stop();
    spawnSync("systemctl", ["stop", slice]);
  }, LONG);

  test("run gives what the container prints, and its exit code", () => {
    expect(engine.runTask("hi", flags("hi"), "sh", "-c", "echo hi; exit 3")).toMatchObject({ code: 3, stdout: "hi\n" });
  });

  test(
    "a task is a scope of the slice, with its limits; exec, metrics, pause, kill, delete",
    async () => {
      const limits = ["--memory-limit", String(64 << 20), "--cpus", "0.5"];
      engine.startTask("long", [...flags("long"), ...limits], "sleep", "3600");
      const unit = "ctr-long.scope";
      const file = (name: string) => readFileSync(join("/sys/fs/cgroup", slice, unit, name), "utf8").trim();
      expect(unitProperty(unit, "ControlGroup")).toBe(`/${slice}/${unit}`);
      expect(unitProperty(unit, "MemoryMax")).toBe(String(64 << 20));
      expect(unitProperty(unit, "CPUQuotaPerSecUSec")).toBe("500ms");
      reloadSystemd();
      expect([file("memory.max"), file("cpu.max")]).toEqual([String(64 << 20), "50000 100000"]);
      expect(engine.exec("long", [], "sh", "-c", ": </dev/null && echo in")).toBe("in\n");
      expect(engine.ok("task", "metrics", "long")).toMatch(/memory.usage_limit +67108864/);
      engine.ok("task", "pause", "long");
      expect(engine.taskStatus("long")).toBe("PAUSED");
      engine.ok("task", "resume", "long");
      engine.ok("task", "kill", "-s", "SIGKILL", "long");
      await until(() => engine.taskStatus("long") === "STOPPED", "the task is stopped");
      engine.ok("task", "delete", "long");
      engine.ok("container", "delete", "long");
      await until(() => unitProperty(unit, "LoadState") === "not-found", "the unit goes");
    },
    LONG,
  );

  test("running out of memory is an event", async () => {
    const events = engine.events();
    const limits = ["--memory-limit", String(24 << 20)];
    const script = "head -c 200m /dev/zero | tail";
    expect(engine.runTask("hungry", [...flags("hungry"), ...limits], "sh", "-c", script).code).not.toBe(0);
    await until(() => events.text().includes("/tasks/oom"), "the engine tells of it");
    events.stop();
  });
});
