/**
 * Limits, counters and ends of containers are the same whoever makes their cgroups: the runtime as root, systemd, or an
 * ordinary user; on cgroup v1, hybrid and v2. And a host beside a container at its limits is unharmed.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { FullSpec } from "../../helpers/bundle.ts";
import { cgroupFile, cgroupOf, limitOf } from "../../helpers/cgroup.ts";
import { deviceOf, inEachMode, type Mode } from "../../helpers/cgroup-modes.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { makeDisk, noDisk } from "../../helpers/disk.ts";
import { followed } from "../../helpers/events.ts";
import { tool } from "../../helpers/images.ts";
import { cgroupLayout } from "../../helpers/needs.ts";
import { newId, run, runBundle, runOk, spawn, stateOf, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { Witness } from "../../helpers/witness.ts";

const MEGABYTE = 2 ** 20;
/** What "head -c 200m /dev/zero | tail" is killed for. */
const HOG = { memory: { limit: 24 * MEGABYTE, swap: 24 * MEGABYTE } };
const MOST = ["memory", "pids", "cpu", "cpuset"];
const forever = "exec sleep 3600";

const { memory, pids, cpus, shares, quota } = limitOf;
const statsOf = (id: string) => JSON.parse(runOk(["events", "--stats", id])).data;
const exitOf = (id: string) => JSON.parse(runOk(["state", id])).exit;
const isStopped = (id: string) => until(() => stateOf(id)?.status === "stopped", "it ends");

/** A directory of the host at /mnt. */
const bound = (source: string) => (spec: FullSpec) => {
  spec.mounts.push({ destination: "/mnt", type: "bind", source, options: ["bind"] });
};

const IO = cgroupLayout() === "v2" ? "io" : "blkio";
const lacksDisk = noDisk(["mkfs.ext4", "-q"], "rw", 16);

/** Runs to its end and keeps what is left. */
function keep(bundle: { path: string }): string {
  const id = newId();
  run(["run", "--keep", "-b", bundle.path, id]);
  return id;
}

inEachMode((mode) => {
  describe("limits", () => limits(mode));
  describe("update", () => updates(mode));
  describe("counters", () => counters(mode));
  describe("freezing and killing", () => freezing(mode));
  describe("out of memory", () => outOfMemory(mode));
  describe("a host beside a container at its limits", () => witnessed(mode));
});

function limits({ on, own, limited }: Mode): void {
  on(...MOST)("they are there before the process runs, and hold for what exec runs", () => {
    const cpu = { quota: 50_000, period: 100_000, shares: 512, cpus: "0", mems: "0" };
    const resources = { memory: { limit: 64 * MEGABYTE }, pids: { limit: 20 }, cpu };
    const { id } = createContainer(limited(forever, resources));
    expect([memory(id), pids(id), quota(id), cpus(id)]).toEqual([String(64 * MEGABYTE), "20", "50000 100000", "0"]);
    expect(["512", "20", "59"]).toContain(shares(id));
    runOk(["start", id]);
    const script = "grep Cpus_allowed_list /proc/self/status; nproc";
    expect(runOk(["exec", id, "sh", "-c", script])).toBe("Cpus_allowed_list:\t0\n1\n");
  });

  on("memory")("memory: who takes more than the limit is killed, first process or exec; who takes less is not", () => {
    const take = (size: string) => ["dd", "if=/dev/zero", "of=/dev/null", `bs=${size}`, "count=1"];
    expect(runBundle(limited(`exec ${take("64M").join(" ")}`, HOG)).code).toBe(137);
    const { id } = startContainer(limited(forever, HOG));
    expect(run(["exec", id, ...take("4M")]).code).toBe(0);
    expect(run(["exec", id, ...take("64M")]).code).toBe(137);
    expect(stateOf(id)?.status).toBe("running");
  });

  own("memory")("memory: a container starts under a limit of two megabytes", () => {
    const resources = { memory: { limit: 2 * MEGABYTE, swap: 2 * MEGABYTE } };
    expect(runBundle(limited("exec true", resources)).code).toBe(0);
  });

  on("pids")("pids: no more processes are made than the limit says, and -1 is none", () => {
    const forks = "sleep 60 & sleep 60 & sleep 60 & sleep 60 & echo forked; kill -9 -1";
    expect(runBundle(limited(forks, { pids: { limit: 3 } })).stderr).toContain("can't fork");
    expect(runBundle(limited(forks, { pids: { limit: 30 } })).stdout).toBe("forked\n");
    expect(pids(createContainer(limited("true", { pids: { limit: -1 } })).id)).toBe("max");
  });

  for (const limit of [1, 0]) {
    own("pids")(`pids: a limit of ${limit} lets the first process in and no other`, () => {
      const { stdout, stderr } = runBundle(limited("echo first; sleep 0 & wait", { pids: { limit } }));
      expect(stdout).toBe("first\n");
      expect(stderr).toContain("can't fork");
    });
  }

  on(IO)("io: who writes to a disk is slowed down to its rate, and what it wrote is counted", async ({ skip }) => {
    skip(lacksDisk !== undefined, lacksDisk);
    const disk = makeDisk(["mkfs.ext4", "-q"], "rw", 16);
    chmodSync(disk.path, 0o777);
    const { major, minor } = deviceOf(disk.path);
    const write = "echo starts; dd if=/dev/zero of=/mnt/file bs=256k count=12 oflag=direct 2>/dev/null; echo written";
    const throttle = { throttleWriteBpsDevice: [{ major, minor, rate: MEGABYTE }] };
    const bundle = limited(`${write}; ${forever}`, { blockIO: throttle }, bound(disk.path));
    const { id, waitFor } = startContainer(bundle);
    await waitFor("starts");
    const start = performance.now();
    await waitFor("written");
    // Three megabytes at one a second, the first of which may go at once.
    expect(performance.now() - start).toBeGreaterThan(1_500);
    // Where there is the bfq scheduler, v1 counts for its devices alone.
    if (IO === "io" || !existsSync(join(cgroupOf(id, IO), "blkio.bfq.io_service_bytes_recursive"))) {
      const entries: { major: number; op: string; value: number }[] = statsOf(id).blkio.ioServiceBytesRecursive;
      const written = entries.find((entry) => entry.major === major && entry.op === "Write");
      expect(written?.value).toBeGreaterThanOrEqual(3 * MEGABYTE);
    }
    runOk(["delete", "--force", id]);
    disk.unmount();
  });

  on("hugetlb")("hugetlb: no more huge pages are to be had than the limit says, and that is counted", ({ skip }) => {
    skip(process.env.TSRUN_VM !== "1", "it takes memory away from the machine");
    writeFileSync("/proc/sys/vm/nr_hugepages", "6");
    const pages = scratch("huge");
    tool("mount", ["-t", "hugetlbfs", "-o", "mode=1777,pagesize=2M", "hugetlbfs", pages]);
    const resources = { hugepageLimits: [{ pageSize: "2MB", limit: 4 * MEGABYTE }] };
    const { id } = startContainer(limited(forever, resources, bound(pages)));
    expect(run(["exec", id, "fallocate", "-l", "4M", "/mnt/two"])).toMatchObject({ code: 0, stderr: "" });
    expect(run(["exec", id, "fallocate", "-l", "2M", "/mnt/one"]).code).not.toBe(0);
    // v1 counts what was refused as a reservation in a file that runc does not read either.
    const failcnt = cgroupLayout() === "v2" ? 1 : 0;
    expect(statsOf(id).hugetlb["2MB"]).toMatchObject({ usage: 4 * MEGABYTE, failcnt });
    runOk(["delete", "--force", id]);
    tool("umount", [pages]);
    writeFileSync("/proc/sys/vm/nr_hugepages", "0");
  });

  own("cpuset")("what the kernel refuses is told with its file, and nothing is left", () => {
    const result = runBundle(limited("true", { cpu: { cpus: "4095" } }));
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("cpuset.cpus") });
    expect(result.stderr.toLowerCase()).not.toContain("no such file");
  });
}

function updates({ on, own, limited }: Mode): void {
  on(...MOST)("each flag changes its limit and leaves the others", () => {
    const { id } = startContainer(limited(forever, { cpu: { shares: 256 } }));
    const now = () => ({ memory: memory(id), pids: pids(id), quota: quota(id), cpus: cpus(id), shares: shares(id) });
    const changes = (flags: string[], expected: Partial<ReturnType<typeof now>>) => {
      const before = now();
      runOk(["update", ...flags, id]);
      expect(now(), flags.join(" ")).toEqual({ ...before, ...expected });
    };
    changes(["--memory", "64m"], { memory: String(64 * MEGABYTE) });
    changes(["--pids-limit", "17"], { pids: "17" });
    changes(["--cpu-period", "50000", "--cpu-quota", "20000"], { quota: "20000 50000" });
    changes(["--cpu-quota", "30000"], { quota: "30000 50000" });
    changes(["--cpuset-cpus", "0"], { cpus: "0" });
    expect(readFileSync(`/proc/${stateOf(id)?.pid}/status`, "utf8")).toMatch(/^Cpus_allowed_list:\t0$/m);
    changes(["--cpu-share", "512"], { shares: expect.stringMatching(/^(512|20|59)$/) });
    changes(["--pids-limit", "-1"], { pids: "max" });
  });

  on("memory")("a memory limit is raised and lowered, with swap in the same call", () => {
    const { id } = startContainer(limited(forever, {}));
    for (const megabytes of [64, 256, 32]) {
      runOk(["update", "--memory", `${megabytes}m`, "--memory-swap", `${megabytes * 2}m`, id]);
      expect(memory(id)).toBe(String(megabytes * MEGABYTE));
    }
    runOk(["update", "--memory", "-1", id]);
    expect(["max", "9223372036854771712"]).toContain(memory(id));
  });

  on("memory", "pids")("--resources reads a file, or standard input; what is 0 there, and devices, are left", () => {
    const { id } = startContainer(limited(forever, {}));
    const file = join(scratch("resources"), "resources.json");
    writeFileSync(file, JSON.stringify({ memory: { limit: 48 * MEGABYTE }, pids: { limit: 33 } }));
    runOk(["update", "--resources", file, id]);
    expect([memory(id), pids(id)]).toEqual([String(48 * MEGABYTE), "33"]);
    // As Docker writes it.
    const zeros = { limit: 0, reservation: 0, kernel: 0 };
    const devices = [{ allow: false, access: "rwm" }];
    const cpu = { shares: 256, quota: 0, period: 0 };
    const input = JSON.stringify({ memory: zeros, cpu, blockIO: { weight: 0 }, devices });
    runOk(["update", "--resources", "-", id], { input });
    expect([memory(id), pids(id)]).toEqual([String(48 * MEGABYTE), "33"]);
    expect(["256", "10", "30", "35"]).toContain(shares(id));
    expect(run(["exec", id, "sh", "-c", "head -c 1 /dev/zero | wc -c"]).stdout.trim()).toBe("1");
  });

  own("pids")("a limit of 0 processes is a limit: the first stays, and makes no other", () => {
    const { id } = startContainer(limited(forever, {}));
    runOk(["update", "--pids-limit", "0", id]);
    expect(pids(id)).toBe("1");
    const update = (value: object) => runOk(["update", "--resources", "-", id], { input: JSON.stringify(value) });
    update({ pids: { limit: -1 } });
    expect(pids(id)).toBe("max");
    update({ pids: { limit: 0 } });
    expect(pids(id)).toBe("1");
    // An empty section asks for nothing.
    update({ pids: {}, cpu: { shares: 512 } });
    expect(pids(id)).toBe("1");
    expect(run(["exec", id, "sh", "-c", "sleep 0 & wait"]).stderr).toMatch(/can't fork|EAGAIN/);
  });
}

function counters({ on, limited }: Mode): void {
  on("memory", "pids")("--stats prints one line with the figures of the container", async () => {
    const limit = 64 * MEGABYTE;
    const { id } = startContainer(limited(forever, { memory: { limit }, pids: { limit: 25 } }));
    const output = runOk(["events", "--stats", id]);
    expect(output.trim().split("\n")).toHaveLength(1);
    const { type, data, ...rest } = JSON.parse(output);
    expect({ type, rest }).toEqual({ type: "stats", rest: { id } });
    expect(data.memory.usage).toMatchObject({ limit, failcnt: 0 });
    expect(data.memory.usage.usage).toBeGreaterThan(0);
    expect(data.memory.usage.usage).toBeLessThan(limit);
    expect(data.pids).toEqual({ current: expect.any(Number), limit: 25 });
    expect(data.cpu.usage.total).toBeGreaterThan(0);
    expect(data.memory.raw).toHaveProperty(cgroupLayout() === "v2" ? "anon" : "rss");
    expect(data).toMatchObject({ intel_rdt: {}, network_interfaces: null, hugetlb: expect.any(Object) });
    // Pressure is told of cgroups of v2, which a hybrid layout has too, but not for an ordinary user.
    const isInV2 = new RegExp(`^0::.*${id}`, "m").test(readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8"));
    if (existsSync("/proc/pressure/io") && isInV2) {
      const figures = { avg10: expect.any(Number), avg60: expect.any(Number), avg300: expect.any(Number) };
      for (const part of ["cpu", "memory", "blkio"]) {
        expect(data[part].psi.some).toEqual({ ...figures, total: expect.any(Number) });
      }
    }
    // runc is still a process of many threads when it says that it has started one.
    await until(() => statsOf(id).pids.current === 1, "its one process is counted");
  });

  on("cpu")("CPU time grows by what the container works, a quota throttles it, and that is counted", async () => {
    // So little that it is used up on a busy machine, too.
    const cpu = { quota: 5_000, period: 100_000 };
    const container = startContainer(limited("echo ready; while :; do :; done", { cpu }));
    await container.waitFor("ready");
    const cpuOf = () => statsOf(container.id).cpu;
    await until(() => cpuOf().throttling.throttledPeriods > 0, "it is throttled");
    const [before, start] = [cpuOf(), performance.now()];
    // The time is added when it may run again, after the period was counted.
    const isMore = ({ throttling: { throttledPeriods, throttledTime } }: ReturnType<typeof cpuOf>) =>
      throttledPeriods > before.throttling.throttledPeriods && throttledTime > before.throttling.throttledTime;
    await until(() => isMore(cpuOf()), "and again");
    const after = cpuOf();
    expect(after.throttling.throttledTime).toBeGreaterThan(before.throttling.throttledTime);
    expect(after.usage.total).toBeGreaterThan(before.usage.total);
    expect(after.usage.total - before.usage.total).toBeLessThan((performance.now() - start) * 1e6 * 0.5);
    runOk(["delete", "--force", container.id]);
  });
}

function freezing({ on, own, bundle, limited }: Mode): void {
  on("freezer", "pids")("a paused container stands still, says so, is updated, and goes on where it was", async () => {
    const args = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];
    const container = startContainer(bundle({ args }));
    await container.waitFor("\n5\n");
    runOk(["pause", container.id]);
    expect(stateOf(container.id)?.status).toBe("paused");
    const before = container.stdout();
    runOk(["update", "--pids-limit", "21", container.id]);
    expect(pids(container.id)).toBe("21");
    expect(container.stdout()).toBe(before);
    runOk(["resume", container.id]);
    expect(stateOf(container.id)?.status).toBe("running");
    await until(() => container.stdout().length > before.length, "it goes on");
    runOk(["pause", container.id]);
    runOk(["delete", "--force", container.id]);
    expect(stateOf(container.id)).toBeUndefined();
  });

  on("pids")("ps lists every process, and kill --all reaches each", async () => {
    const script = `sleep 3600 & sleep 3600 & trap "" TERM; echo ready; wait; echo alone; ${forever}`;
    const container = startContainer(limited(script, {}));
    await container.waitFor("ready");
    const listed = () => JSON.parse(runOk(["ps", "-f", "json", container.id])) as number[];
    expect(listed()).toHaveLength(3);
    runOk(["kill", "--all", container.id, "TERM"]);
    await container.waitFor("alone");
    expect(listed()).toEqual([stateOf(container.id)?.pid]);
    runOk(["kill", container.id, "KILL"]);
    await isStopped(container.id);
    runOk(["delete", container.id]);
  });

  own("freezer")("pause and resume are told, and how it ended is the last", async () => {
    const args = ["sh", "-c", "read code; exit $code"];
    const { id, container, stream, events } = await followed(bundle({ args }), ["freeze", "exit"]);
    runOk(["pause", id]);
    await stream.waitFor('"frozen":true');
    runOk(["resume", id]);
    await stream.waitFor('"frozen":false');
    container.child.stdin?.write("9\n");
    expect((await container.exit).code).toBe(9);
    expect((await stream.exit).code).toBe(0);
    expect(events()).toMatchObject([
      { type: "freeze", id, data: { frozen: true } },
      { type: "freeze", id, data: { frozen: false } },
      { type: "exit", id, data: { exitCode: 9 } },
    ]);
  });
}

function outOfMemory({ on, own, limited, knowsKills, knowsFigures }: Mode): void {
  on("memory")("it is told while it happens", async () => {
    const id = newId();
    const script = `read go; sh -c 'head -c 200m /dev/zero | tail'; ${forever}`;
    const container = spawn(["run", "-b", limited(script, HOG).path, id]);
    await until(() => stateOf(id)?.status === "running", "it runs");
    const stream = spawn(["events", "--interval", "100ms", id]);
    await stream.waitFor('"stats"');
    container.child.stdin?.write("go\n");
    await stream.waitFor('"oom"');
    const lines = stream.stdout().split("\n");
    expect(lines.find((line) => line.includes('oom"'))).toBe(`{"type":"oom","id":"${id}"}`);
    runOk(["kill", id, "KILL"]);
    await container.exit;
    expect((await stream.exit).code).toBe(0);
  });

  own("memory")("a kill that ends the container is told, though its cgroup goes at once", async () => {
    for (let round = 0; round < 3; round++) {
      const bundle = limited("read go; exec tail /dev/zero", HOG);
      const { id, container, stream, events } = await followed(bundle, ["oom", "exit"]);
      container.child.stdin?.write("go\n");
      expect((await container.exit).code).toBe(137);
      expect((await stream.exit).code).toBe(0);
      expect(events()).toMatchObject([
        { type: "oom", id },
        { type: "exit", id, data: { exitCode: 137, signal: "SIGKILL", oomKilled: true, oomKills: 1 } },
      ]);
      if (knowsFigures) expect(events()[1].data.memoryPeak).toBeGreaterThan(16 * MEGABYTE);
    }
  });

  own("memory", "cpu")("state tells of it afterwards, with the peak and the CPU time", ({ skip }) => {
    skip(!knowsKills, "the cgroup has gone with its last process, and this user may not read the kernel's log");
    const cpu = { quota: 50_000, period: 100_000 };
    const exit = exitOf(keep(limited("head -c 200m /dev/zero | tail; exit 3", { ...HOG, cpu })));
    expect(exit).toMatchObject({ exitCode: 3, oomKilled: true, oomKills: 1 });
    expect(exitOf(keep(limited("exit 137", HOG)))).toMatchObject({ exitCode: 137, oomKilled: false });
    if (!knowsFigures) return;
    expect(exit.memoryPeak).toBeGreaterThan(20 * MEGABYTE);
    expect(exit.memoryPeak).toBeLessThanOrEqual(24 * MEGABYTE);
    expect(exit.cpu.usage.total).toBeGreaterThan(0);
    expect(exit.cpu.throttling.periods).toBeGreaterThan(0);
  });
}

function witnessed({ own, limited, knowsKills, knowsFigures }: Mode): void {
  let witness: Witness;
  beforeAll(() => {
    witness = new Witness();
  });
  afterAll(() => witness.end());

  own("pids", "cpu")("a fork bomb stays within its processes, and the host forks on", async () => {
    // A copy that cannot fork ends, and another takes its place: the bomb is there for as long as the container.
    const bomb = "bomb() { while :; do bomb & done; }; bomb 2>/dev/null & exec sleep 1000";
    const resources = { pids: { limit: 40 }, cpu: { quota: 20_000, period: 100_000 } };
    const { id } = startContainer(limited(bomb, resources));
    const current = () => Number(cgroupFile(id, "pids", "pids.current", "pids.current"));
    await until(() => current() >= 40, "it is at its limit");
    for (let round = 0; round < 20; round++) {
      expect(current()).toBeLessThanOrEqual(40);
      await witness.ask();
    }
    expect(Number(/^max (\d+)$/m.exec(cgroupFile(id, "pids", "pids.events", "pids.events"))?.[1])).toBeGreaterThan(0);
    runOk(["delete", "--force", id]);
    await witness.ask();
  });

  own("memory", "cpu")(
    "one that takes all the memory it can get dies of it again and again, and nobody else",
    async () => {
      const cpu = { quota: 50_000, period: 100_000 };
      const { id } = startContainer(
        limited("while :; do head -c 200m /dev/zero | tail; done 2>/dev/null", { ...HOG, cpu }),
      );
      const kills = () =>
        Number(/^oom_kill (\d+)$/m.exec(cgroupFile(id, "memory", "memory.oom_control", "memory.events"))?.[1]);
      await until(() => kills() >= 2, "it is killed twice", 20_000);
      for (let round = 0; round < 10; round++) await witness.ask();
      const peak = Number(cgroupFile(id, "memory", "memory.max_usage_in_bytes", "memory.peak"));
      expect(peak).toBeLessThanOrEqual(HOG.memory.limit);
      // Its first process was not the one to go.
      expect(stateOf(id)?.status).toBe("running");
      runOk(["kill", id, "KILL"]);
      await isStopped(id);
      // Nobody of ours has waited for it: the cgroup tells, until delete, its witness, or the kernel's log.
      const known = knowsFigures ? { oomKilled: true, memoryPeak: expect.any(Number) } : { oomKilled: true };
      if (knowsKills) expect(exitOf(id)).toMatchObject(known);
      runOk(["delete", id]);
    },
  );

  own("memory")("files in a tmpfs count too: one that fills /dev/shm is stopped by its limit", async () => {
    const id = newId();
    const bundle = limited("dd if=/dev/zero of=/dev/shm/file bs=1M count=60", HOG);
    expect(run(["run", "--keep", "-b", bundle.path, id]).code).not.toBe(0);
    if (knowsKills) expect(exitOf(id)).toMatchObject({ oomKilled: true });
    await witness.ask();
    runOk(["delete", id]);
  });
}
