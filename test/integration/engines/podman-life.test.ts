/** Under Podman: a container that stays, and what is done with it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeNeeds } from "../../helpers/needs.ts";
import { type Podman, startPodman } from "../../helpers/podman.ts";
import { until } from "../../helpers/runtime.ts";

const needed = describeNeeds({ root: true, tsrun: true, native: true, commands: ["podman", "unshare", "nsenter"] });
const FOREVER = ["bb", "sleep", "1000"];

let podman: Podman;
const detached = (...args: string[]) => podman.ok("run", "-d", "--network=none", ...args);
const inspect = (what: string, id: string) => podman.ok("inspect", "-f", `{{.${what}}}`, id);

needed("podman, a container that stays", () => {
  beforeAll(async () => {
    podman = await startPodman("cgroupfs");
  }, 120_000);
  afterAll(() => podman?.stop());

  test("ps, exec, logs, kill and stop", async () => {
    const name = "web";
    const script = "trap 'echo bye; exit 3' TERM; echo started; while :; do sleep 0.1; done";
    detached("--name", name, "bb", "sh", "-c", script);
    expect(podman.ok("ps", "--format", "{{.Names}} {{.Status}}")).toMatch(/^web Up /);
    expect(podman.run("exec", name, "sh", "-c", "echo in $(hostname | wc -c); exit 4")).toMatchObject({
      code: 4,
      stdout: "in 13\n",
    });
    const as = ["--user", "1000", "-e", "X=y", "-w", "/tmp"];
    expect(podman.ok("exec", ...as, name, "sh", "-c", "id -u; echo $X $PWD")).toBe("1000\ny /tmp");
    expect(podman.run("exec", name, "nosuch").code).toBe(127);
    expect(podman.ok("top", name, "pid")).toMatch(/^PID\n1\n/);
    await until(() => podman.ok("logs", name).includes("started"), "its output is in the log");
    podman.ok("stop", "-t", "5", name);
    expect(inspect("State.Status", name)).toBe("exited");
    expect(inspect("State.ExitCode", name)).toBe("3");
    expect(podman.ok("logs", name)).toBe("started\nbye");
    podman.ok("start", name);
    podman.ok("kill", name);
    await until(() => inspect("State.ExitCode", name) === "137", "podman knows that it was killed");
    podman.ok("rm", name);
    expect(podman.ok("ps", "-a", "-q")).toBe("");
  }, 120_000);

  test("limits change while it runs, and its use is told", () => {
    const id = detached("-m", "64m", "--cpus", "0.5", ...FOREVER);
    const stats = "{{.MemLimit}} {{.PIDs}}";
    expect(podman.ok("stats", "--no-stream", "--format", stats, id)).toBe(`${64 << 20} 1`);
    podman.ok("update", "-m", "96m", "--memory-swap", "192m", "--cpus", "0.8", id);
    // Podman 4 goes on telling of the limits that it began with.
    const show =
      "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max 2>/dev/null";
    expect(podman.run("exec", id, "sh", "-c", show).stdout).toMatch(new RegExp(`^${96 << 20}\n80000`));
    podman.ok("rm", "-f", "-t", "0", id);
  });

  test("pause holds it, and it goes on", () => {
    const id = detached(...FOREVER);
    podman.ok("pause", id);
    expect(inspect("State.Status", id)).toBe("paused");
    expect(podman.run("exec", id, "true").code).not.toBe(0);
    podman.ok("unpause", id);
    expect(podman.ok("exec", id, "echo", "on")).toBe("on");
    podman.ok("rm", "-f", "-t", "0", id);
  });

  test("a restart is a new process of the same container, by hand and by policy", async () => {
    const id = detached("bb", "sh", "-c", "echo run >> /runs; exec sleep 1000");
    const pid = inspect("State.Pid", id);
    podman.ok("restart", "-t", "0", id);
    expect(inspect("State.Pid", id)).not.toBe(pid);
    await until(() => podman.run("exec", id, "cat", "/runs").stdout === "run\nrun\n", "it has run twice");
    podman.ok("rm", "-f", "-t", "0", id);
    const failing = detached("--restart=on-failure:2", "bb", "sh", "-c", "exit 1");
    await until(() => inspect("RestartCount", failing) === "2", "it was started again, twice");
    podman.ok("rm", "-f", "-t", "0", failing);
  });

  test("a health check runs in the container", () => {
    const id = detached("--health-cmd", "test -e /well", "--health-interval=disable", ...FOREVER);
    expect(podman.run("healthcheck", "run", id).code).toBe(1);
    podman.ok("exec", id, "touch", "/well");
    podman.ok("healthcheck", "run", id);
    expect(inspect("State.Health.Status", id)).toBe("healthy");
    podman.ok("rm", "-f", "-t", "0", id);
  });

  test("commit makes an image of what the container wrote", () => {
    const id = detached("bb", "sh", "-c", "echo written > /new");
    podman.ok("wait", id);
    podman.ok("commit", "-q", id, "committed");
    expect(podman.ok("run", "--rm", "--network=none", "committed", "cat", "/new")).toBe("written");
    podman.ok("rm", id);
  });
});
