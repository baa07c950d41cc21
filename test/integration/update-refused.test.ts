/** An update of which the kernel takes some and refuses the rest: nothing of it holds. Rules: kernel cgroup-v2.rst. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { cgroupOf, limitOf } from "../helpers/cgroup.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import { deleteContainers, run, runOk } from "../helpers/runtime.ts";

const isV2 = cgroupLayout() === "v2";
const own = needs({
  root: true,
  tsrun: true,
  cgroup: ["v1", "v2"],
  controllers: ["memory", "pids", "cpu", "cpuset", isV2 ? "io" : "blkio"],
});
const MEGABYTE = 2 ** 20;

afterAll(deleteContainers);

/** Every limit of the container's cgroups by file, whatever it is called. */
function limits(id: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const dir of new Set(["memory", "pids", "cpu", "cpuset", isV2 ? "io" : "blkio"].map((c) => cgroupOf(id, c)))) {
    for (const name of readdirSync(dir)) {
      const isLimit = /(max|high|low|weight|weight\.nice|idle|shares|quota_us|period_us|burst(_us)?|limit_in_bytes)$/;
      // A set of v2 that was empty cannot be made so again on every kernel, and is what it was in effect.
      const isSet = isV2 ? /^cpuset\.(cpus|mems)\.effective$/ : /^cpuset\.(cpus|mems)$/;
      if (!isLimit.test(name) && !isSet.test(name) && !/^blkio\.throttle\..*_device$/.test(name)) continue;
      // Of memory.reclaim and its like nothing can be read.
      if ((statSync(join(dir, name)).mode & 0o222) !== 0)
        found[join(dir, name)] = readFileSync(join(dir, name), "utf8");
    }
  }
  return found;
}

function kept(id: string): string[] {
  return ["config.json", "state.json"].map((name) => readFileSync(`/run/tsrun/${id}/${name}`, "utf8"));
}

/** A whole disk of this machine, "major:minor". */
function disk(): [number, number] | undefined {
  for (const name of readdirSync("/sys/block").sort().reverse()) {
    const [major, minor] = readFileSync(`/sys/block/${name}/dev`, "utf8").split(":").map(Number);
    if (major && minor !== undefined && Number(readFileSync(`/sys/block/${name}/size`, "utf8")) > 0)
      return [major, minor];
  }
  return undefined;
}

describe("an update that is refused half-way", () => {
  const changes = {
    memory: { limit: 96 * MEGABYTE, swap: 128 * MEGABYTE, reservation: 8 * MEGABYTE },
    cpu: { shares: 300, quota: 30000, period: 60000, cpus: "0" },
    pids: { limit: 77 },
  };

  own("has no effect: a device that is not there, after limits of everything else", ({ skip }) => {
    const found = disk();
    if (found === undefined) return skip("this machine has no disk");
    const [major, minor] = found;
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--memory", "48m", "--memory-swap", "64m", "--cpu-share", "512", "--pids-limit", "33", id]);
    const before = [limits(id), kept(id)];
    const throttleReadBpsDevice = [
      { major, minor, rate: MEGABYTE },
      { major: 4095, minor: 7, rate: MEGABYTE },
    ];
    const throttleWriteIOPSDevice = [{ major, minor, rate: 500 }];
    const input = JSON.stringify({ ...changes, blockIO: { throttleWriteIOPSDevice, throttleReadBpsDevice } });
    const refused = run(["update", "--resources", "-", id], { input });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(": all limits are as before: cannot set ");
    expect(refused.stderr).toMatch(isV2 ? /io\.max: ENODEV/ : /blkio\.throttle\.read_bps_device: ENODEV/);
    expect([limits(id), kept(id)]).toEqual(before);
    // All of this can be had, so that there was something to set back.
    runOk(["update", "--resources", "-", id], {
      input: JSON.stringify({ ...changes, blockIO: { throttleReadBpsDevice: throttleReadBpsDevice.slice(0, 1) } }),
    });
    const after = [limitOf.memory(id), limitOf.pids(id), limitOf.quota(id), limitOf.cpus(id)];
    expect(after).toEqual([String(96 * MEGABYTE), "77", "30000 60000", "0"]);
  });

  own("has no effect: CPUs that are not there, and a number of processes that is too large", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--memory", "48m", "--cpu-share", "512", id]);
    const before = [limits(id), kept(id)];
    const attempts = [
      { ...changes, cpu: { ...changes.cpu, idle: 1, cpus: "4095" } },
      { ...changes, cpu: { ...changes.cpu, idle: 1 }, pids: { limit: 2 ** 31 } },
    ];
    for (const resources of attempts) {
      const refused = run(["update", "--resources", "-", id], { input: JSON.stringify(resources) });
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/cpuset\.cpus|pids\.max/),
      });
      expect([limits(id), kept(id)]).toEqual(before);
    }
  });

  own("has no effect: a state directory in which nothing can be kept", () => {
    const { id } = startContainer(sleepingBundle());
    const before = [limits(id), kept(id)];
    const obstacle = `/run/tsrun/${id}/state.json.new`;
    mkdirSync(obstacle);
    const refused = run(["update", "--resources", "-", id], { input: JSON.stringify(changes) });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/: all limits are as before: /) });
    expect([limits(id), kept(id)]).toEqual(before);
    rmdirSync(obstacle);
    runOk(["update", "--resources", "-", id], { input: JSON.stringify(changes) });
    expect(limitOf.pids(id)).toBe("77");
  });
});
