/** Limits that change while a container runs, and containers that stand still; the same on cgroup v1 and v2. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { cgroupFile } from "../helpers/cgroup.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, newId, run, runOk, stateOf, until } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const on = (...controllers: string[]) => needs({ root: true, cgroup: ["v1", "v2"], controllers });
const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });
const MEGABYTE = 2 ** 20;

afterAll(deleteContainers);

const memory = (id: string) => cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max");
const pids = (id: string) => cgroupFile(id, "pids", "pids.max", "pids.max");
const quota = (id: string) =>
  cgroupFile(id, "cpu", "cpu.cfs_quota_us", "cpu.max").split(" ")[0] +
  " " +
  cgroupFile(id, "cpu", "cpu.cfs_period_us", "cpu.max").split(" ").at(-1);

describe("update", () => {
  on(
    "memory",
    "pids",
    "cpu",
  )("each flag changes its limit and leaves the others", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--memory", "64m", id]);
    expect(memory(id)).toBe(String(64 * MEGABYTE));
    runOk(["update", "--pids-limit", "17", id]);
    expect(pids(id)).toBe("17");
    expect(memory(id)).toBe(String(64 * MEGABYTE));
    runOk(["update", "--cpu-period", "50000", "--cpu-quota", "20000", id]);
    expect(quota(id)).toBe("20000 50000");
    runOk(["update", "--cpu-quota", "30000", id]);
    expect(quota(id)).toBe("30000 50000");
    runOk(["update", "--cpu-share", "512", id]);
    expect(cgroupFile(id, "cpu", "cpu.shares", "cpu.weight")).toBe(cgroupFile(id, "cpu", "cpu.shares", "cpu.weight"));
    expect(["512", "59"]).toContain(cgroupFile(id, "cpu", "cpu.shares", "cpu.weight"));
    runOk(["update", "--pids-limit", "-1", id]);
    expect(pids(id)).toBe("max");
  });

  own("pids")("a limit of 0 processes is a limit: the first stays, and makes no other", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--pids-limit", "0", id]);
    expect(pids(id)).toBe("1");
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ pids: { limit: -1 } }) });
    expect(pids(id)).toBe("max");
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ pids: { limit: 0 } }) });
    expect(pids(id)).toBe("1");
    // An empty section asks for nothing.
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ pids: {}, cpu: { shares: 512 } }) });
    expect(pids(id)).toBe("1");
    expect(run(["exec", id, "sh", "-c", "sleep 0 & wait"]).stderr).toMatch(/can't fork|EAGAIN/);
  });

  own("pids")("names whose letters have another case are the spec's, as they are to programs in Go", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ Pids: { Limit: 31 } }) });
    expect(pids(id)).toBe("31");
    const twice = run(["update", "--resources", "-", id], { input: '{"pids": {"limit": 1}, "PIDS": {"limit": 2}}' });
    expect(twice.stderr).toContain('resources.PIDS: is the same member as "pids" beside it');
    expect(pids(id)).toBe("31");
  });

  own("pids")("a container whose seccomp profile compares numbers above 2^53 is updated, and keeps them", () => {
    const bundle = sleepingBundle();
    const config = JSON.parse(readFileSync(join(bundle.path, "config.json"), "utf8"));
    const args = [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }];
    const syscalls = [{ names: ["personality"], action: "SCMP_ACT_ERRNO", args }];
    config.Linux = { ...config.linux, seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls } };
    delete config.linux;
    const text = JSON.stringify(config).replace('"value":1,', '"value":9223372036854775809,');
    writeFileSync(join(bundle.path, "config.json"), text);
    const { id } = startContainer(bundle);
    for (const limit of ["19", "23"]) {
      runOk(["update", "--pids-limit", limit, id]);
      expect(pids(id)).toBe(limit);
    }
    const kept = readFileSync(`/run/tsrun/${id}/config.json`, "utf8");
    expect(kept).toContain('"linux":{');
    expect(kept).toContain('"value":9223372036854775809,');
  });

  on("cpuset")("the CPUs that may be used are changed", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--cpuset-cpus", "0", id]);
    expect(cgroupFile(id, "cpuset", "cpuset.cpus", "cpuset.cpus")).toBe("0");
    expect(readFileSync(`/proc/${stateOf(id)?.pid}/status`, "utf8")).toMatch(/^Cpus_allowed_list:\t0$/m);
  });

  on("memory")("a memory limit is raised and lowered, with and without swap in the same call", () => {
    const { id } = startContainer(sleepingBundle());
    for (const megabytes of [64, 256, 32]) {
      runOk(["update", "--memory", `${megabytes}m`, "--memory-swap", `${megabytes * 2}m`, id]);
      expect(memory(id)).toBe(String(megabytes * MEGABYTE));
    }
    runOk(["update", "--memory", "-1", id]);
    expect(["max", "9223372036854771712"]).toContain(memory(id));
  });

  on("memory", "pids")("--resources reads a file, or standard input; what is 0 there is left as it is", () => {
    const { id } = startContainer(sleepingBundle());
    const file = join(scratch("resources"), "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 48 * MEGABYTE }, pids: { limit: 33 } }));
    runOk(["update", "--resources", file, id]);
    expect([memory(id), pids(id)]).toEqual([String(48 * MEGABYTE), "33"]);
    // As Docker writes it.
    const zeros = { limit: 0, reservation: 0, kernel: 0 };
    const input = JSON.stringify({ memory: zeros, cpu: { shares: 256, quota: 0, period: 0 }, blockIO: { weight: 0 } });
    runOk(["update", "--resources", "-", id], { input });
    expect([memory(id), pids(id)]).toEqual([String(48 * MEGABYTE), "33"]);
    expect(["256", "30", "35"]).toContain(cgroupFile(id, "cpu", "cpu.shares", "cpu.weight"));
  });

  on("devices", "pids")("device rules in an update are not applied: devices stay as they are", () => {
    const { id } = startContainer(sleepingBundle());
    const input = JSON.stringify({ devices: [{ allow: false, access: "rwm" }], pids: { limit: 40 } });
    runOk(["update", "--resources", "-", id], { input });
    expect(pids(id)).toBe("40");
    expect(run(["exec", id, "sh", "-c", "head -c 1 /dev/zero | wc -c"]).stdout.trim()).toBe("1");
  });

  own("memory")(
    "a limit that the kernel refuses is told with its file, and wrong values before anything is done",
    () => {
      const { id } = startContainer(sleepingBundle());
      const wrong = run(["update", "--memory", "lots", id]);
      expect(wrong).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('invalid value "lots" for flag --memory'),
      });
      const input = JSON.stringify({ memory: { limit: "1" }, pids: { limit: 5 } });
      const typed = run(["update", "--resources", "-", id], { input });
      expect(typed).toMatchObject({ code: 1, stderr: expect.stringContaining("resources.memory.limit") });
      const refused = run(["update", "--cpuset-cpus", "4095", id]);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("cpuset.cpus") });
      expect(run(["update", "--resources", "x", "--memory", "1m", id]).stderr).toContain("exclude each other");
    },
  );

  own("memory")("an exec after an update is in the changed cgroup, and a second update knows of the first", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--memory", "80m", id]);
    runOk(["update", "--memory-reservation", "40m", id]);
    const config = JSON.parse(readFileSync(`/run/tsrun/${id}/config.json`, "utf8"));
    expect(config.linux.resources.memory).toEqual({ limit: 80 * MEGABYTE, reservation: 40 * MEGABYTE });
    expect(config.linux.resources.devices).toEqual(makeBundle().spec.linux.resources?.devices);
  });

  own()("a container that has stopped is not updated", async () => {
    const { id } = startContainer(makeBundle({ args: ["true"] }));
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    const result = run(["update", "--pids-limit", "5", id]);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("container not running: cannot update a container that is stopped"),
    });
    expect(run(["update", "--pids-limit", "5", newId()]).stderr).toContain("does not exist");
  });
});

describe("pause and resume", () => {
  const counting = () => makeBundle({ args: ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"] });

  on("freezer")("a paused container stands still, says so, and goes on where it was", async () => {
    const container = startContainer(counting());
    await container.waitFor("\n5\n");
    runOk(["pause", container.id]);
    expect(stateOf(container.id)?.status).toBe("paused");
    const before = container.stdout();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(container.stdout()).toBe(before);
    runOk(["resume", container.id]);
    expect(stateOf(container.id)?.status).toBe("running");
    await until(() => container.stdout().length > before.length, "it goes on");
  });

  on("freezer")("pause of what does not run, and resume of what is not paused, are errors", async () => {
    const { id } = startContainer(sleepingBundle());
    expect(run(["resume", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("not paused") });
    runOk(["pause", id]);
    expect(run(["pause", id]).code).toBe(1);
    expect(run(["exec", id, "true"])).toMatchObject({ code: 255, stderr: expect.stringContaining("paused") });
    expect(run(["delete", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("paused") });
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "a paused container dies of KILL");
    expect(run(["pause", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("not running") });
    runOk(["delete", id]);
  });

  on("freezer")("a paused container is updated, and deleted by force", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["pause", id]);
    runOk(["update", "--pids-limit", "21", id]);
    expect(pids(id)).toBe("21");
    runOk(["delete", "--force", id]);
    expect(stateOf(id)).toBeUndefined();
  });

  own()("a created container can be paused; it starts when it is resumed", async () => {
    const container = createContainer(makeBundle({ args: ["sh", "-c", "echo started; sleep 1000"] }));
    runOk(["pause", container.id]);
    runOk(["resume", container.id]);
    runOk(["start", container.id]);
    await container.waitFor("started");
  });
});
