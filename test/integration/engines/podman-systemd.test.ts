/** Podman as it comes on a machine that runs systemd: each container a scope in machine.slice. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { busyboxTar } from "../../helpers/engine-image.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { type Podman, startPodman } from "../../helpers/podman.ts";
import { until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { reloadSystemd, unitProperty } from "../../helpers/systemd.ts";

const systemd = describeNeeds({ root: true, tsrun: true, systemd: true, cgroup: "v2", commands: ["podman"] });
const NET = "--network=none";
let podman: Podman;

systemd("podman, systemd", () => {
  beforeAll(async () => {
    podman = await startPodman("systemd");
  }, 240_000);
  afterAll(() => podman?.stop(), 120_000);

  test("run gives what the container prints, and its exit code", () => {
    expect(podman.run("run", "--rm", NET, "bb", "sh", "-c", "echo hi; exit 3")).toEqual({
      code: 3,
      stdout: "hi\n",
      stderr: "",
    });
  }, 120_000);

  test("limits are properties of the scope; a reload of systemd leaves them, and the devices", async () => {
    const limits = ["-m", "64m", "--pids-limit", "33", "--cpus", "0.5"];
    const { stdout, stderr } = podman.run("run", "-d", NET, ...limits, "bb", "sleep", "3600");
    expect(stderr).toBe("");
    const id = stdout.trim();
    const unit = `libpod-${id}.scope`;
    expect(unitProperty(unit, "ControlGroup")).toBe(`/machine.slice/${unit}`);
    expect(unitProperty(unit, "MemoryMax")).toBe(String(64 << 20));
    expect(unitProperty(unit, "TasksMax")).toBe("33");
    expect(unitProperty(unit, "CPUQuotaPerSecUSec")).toBe("500ms");
    expect(podman.ok("exec", id, "sh", "-c", "echo in")).toBe("in");
    reloadSystemd();
    expect(readFileSync(`/sys/fs/cgroup/machine.slice/${unit}/memory.max`, "utf8").trim()).toBe(String(64 << 20));
    expect(podman.ok("exec", id, "sh", "-c", ": </dev/null && echo open")).toBe("open");
    podman.ok("pause", id);
    expect(podman.ok("inspect", "-f", "{{.State.Status}}", id)).toBe("paused");
    podman.ok("unpause", id);
    podman.ok("stop", "-t", "0", id);
    expect(podman.ok("inspect", "-f", "{{.State.ExitCode}}", id)).toBe("137");
    podman.ok("rm", id);
    await until(() => unitProperty(unit, "LoadState") === "not-found", "the unit goes");
  }, 240_000);

  test("a build runs its commands, as buildah does", () => {
    const context = scratch("context");
    copyFileSync(busyboxTar(), join(context, "rootfs.tar"));
    const lines = ["FROM scratch", "ADD rootfs.tar /", "RUN echo built by $(id -u) > /built; cat /proc/self/cgroup"];
    writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
    const built = podman.ok("build", "--isolation=oci", "--cgroupns=host", NET, "-t", "built", context);
    expect(built).toMatch(/^0::\/(machine|system)\.slice\/.*\.scope$/m);
    expect(podman.ok("run", "--rm", NET, "built", "cat", "/built")).toBe("built by 0");
  }, 240_000);
});
