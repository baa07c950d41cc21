/**
 * Figures of the files that kernels wrote: of v1 Linux 6.18, of v2 Linux 6.1, both for a container that had written and
 * read 4 MiB, had taken more memory than its limit of 48 MiB and had worked under a quota. And each limit, from
 * config.json to the file and from the file to the figure that tells of it.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { NO_LIMIT } from "../../../src/cgroup/figures.ts";
import type { CgroupRecord } from "../../../src/cgroup/manager.ts";
import { resourceWrites } from "../../../src/cgroup/resources.ts";
import { readStats } from "../../../src/cgroup/stats.ts";
import { readTally } from "../../../src/cgroup/tally.ts";
import type { LinuxResources } from "../../../src/spec/types.ts";

const FIXTURES = fileURLToPath(new URL("../../fixtures/cgroup", import.meta.url));
const MEGABYTE = 2 ** 20;

const top = mkdtempSync(join(tmpdir(), "tsrun-figures-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));
let counter = 0;

function recordOf(version: 1 | 2, dir: string): CgroupRecord {
  if (version === 2) return { layout: "v2", paths: { "": dir }, made: [dir] };
  const names = readdirSync(dir).filter((name) => name !== "unified");
  const paths = Object.fromEntries(names.map((name) => [name, join(dir, name)]));
  return { layout: "hybrid", paths: { ...paths, "": join(dir, "unified") }, made: Object.values(paths) };
}

const V1 = recordOf(1, join(FIXTURES, "v1"));
const V2 = recordOf(2, join(FIXTURES, "v2"));

const rawOf = (path: string) =>
  Object.fromEntries(
    readFileSync(join(FIXTURES, path), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([name, number]) => [name, Number(number)]),
  );

/** What the kernel would show after these writes, where it shows what was written. */
function written(version: 1 | 2, resources: LinuxResources): CgroupRecord {
  const dir = join(top, String(++counter));
  cpSync(join(FIXTURES, `v${version}`), dir, { recursive: true });
  for (const { controller, writes } of resourceWrites(resources, version)) {
    const at = version === 2 ? dir : join(dir, controller);
    mkdirSync(at, { recursive: true });
    for (const { file, value } of writes) writeFileSync(join(at, file), `${value}\n`);
  }
  return recordOf(version, dir);
}

describe("figures of the files that a kernel wrote", () => {
  test("v1: CPU time in nanoseconds, by CPU, and throttling", () => {
    expect(readStats(V1).cpu).toMatchObject({
      usage: {
        total: 524_114_187,
        percpu: [517_635_998, 6_478_189],
        percpu_kernel: [51_969_254, 0],
        percpu_user: [411_965_438, 0],
        kernel: 50_000_000,
        user: 460_000_000,
      },
      throttling: { periods: 24 },
    });
  });

  test("v2: CPU time and throttling, in nanoseconds too", () => {
    expect(readStats(V2).cpu).toMatchObject({
      usage: { total: 16_736_921_000, kernel: 9_067_822_000, user: 7_669_099_000 },
      throttling: { periods: 348, throttledPeriods: 320, throttledTime: 18_396_596_000 },
    });
  });

  test("v1: memory with its limit, peak and failures; memory.stat as it is", () => {
    const { memory } = readStats(V1);
    expect(memory).toMatchObject({
      cache: 4096,
      usage: { limit: 48 * MEGABYTE, usage: 163_840, max: 48 * MEGABYTE, failcnt: 80 },
      swap: { limit: 64 * MEGABYTE, usage: 163_840, max: 50_593_792, failcnt: 0 },
      kernel: { limit: 2 ** 63 - 4096, usage: 106_496, max: 483_328, failcnt: 0 },
      kernelTCP: { limit: 2 ** 63 - 4096, failcnt: 0 },
    });
    expect(memory.raw).toEqual(rawOf("v1/memory/memory.stat"));
  });

  test("v2: memory, and swap counted with it", () => {
    const { memory } = readStats(V2);
    expect(memory).toMatchObject({
      cache: 4096,
      usage: { limit: 48 * MEGABYTE, usage: 147_456, max: 48 * MEGABYTE, failcnt: 20 },
      swap: { limit: 64 * MEGABYTE, usage: 147_456, failcnt: 0 },
      kernel: { limit: 0, usage: 90_112, failcnt: 0 },
      kernelTCP: { limit: 0, failcnt: 0 },
    });
    expect(memory.raw).toEqual(rawOf("v2/memory.stat"));
  });

  test("v1: what was read and written, by device and operation", () => {
    const { ioServiceBytesRecursive: bytes, ioServicedRecursive: counts } = readStats(V1).blkio;
    const values = (list: typeof bytes) => list?.map(({ op, value = 0 }) => [op, value]);
    const both = ["Read", "Write"] as const;
    expect(values(bytes)).toEqual([
      ...both.map((op) => [op, 4 * MEGABYTE]),
      ["Sync", 8 * MEGABYTE],
      ["Async", 0],
      ["Discard", 0],
      ["Total", 8 * MEGABYTE],
    ]);
    expect(values(counts)?.slice(0, 2)).toEqual(both.map((op) => [op, 64]));
    expect(bytes?.every(({ major, minor }) => major === 254 && minor === undefined)).toBe(true);
  });

  test("v2: what was read and written, by device", () => {
    const entry = (op: string, value: number) => ({ major: 254, op, value });
    expect(readStats(V2).blkio).toMatchObject({
      ioServiceBytesRecursive: [entry("Read", 4_198_400), entry("Write", 4_206_592)],
      ioServicedRecursive: [entry("Read", 65), entry("Write", 67)],
    });
  });

  for (const [version, record] of [
    [1, V1],
    [2, V2],
  ] as const) {
    test(`v${version}: processes and their limit`, () => {
      expect(readStats(record).pids).toEqual({ current: 1, limit: 25 });
    });

    test(`v${version}: pressure of CPU, memory and I/O`, () => {
      const { cpu, memory, blkio } = readStats(record);
      for (const psi of [cpu.psi, memory.psi, blkio.psi]) {
        for (const kind of ["some", "full"] as const) {
          expect(Object.keys(psi?.[kind] ?? {})).toEqual(["avg10", "avg60", "avg300", "total"]);
        }
      }
      expect(cpu.psi?.some?.total).toBeGreaterThan(0);
    });

    test(`v${version}: what counts at the end`, () => {
      const tally = readTally(record);
      expect(tally).toMatchObject({ oomKills: 1, memoryPeak: 48 * MEGABYTE });
      const { usage, throttling } = readStats(record).cpu;
      const { total, kernel, user } = usage;
      expect(tally.cpu).toEqual({ usage: { total, kernel, user }, throttling });
    });
  }
});

describe("a limit, written and read again", () => {
  for (const version of [1, 2] as const) {
    const figures = (resources: LinuxResources) => readStats(written(version, resources));

    test(`v${version}: memory, and memory with swap`, () => {
      const { memory } = figures({ memory: { limit: 64 * MEGABYTE, swap: 96 * MEGABYTE } });
      expect(memory.usage.limit).toBe(64 * MEGABYTE);
      expect(memory.swap.limit).toBe(96 * MEGABYTE);
    });

    test(`v${version}: memory without swap`, () => {
      const { memory } = figures({ memory: { limit: 64 * MEGABYTE, swap: 64 * MEGABYTE } });
      expect(memory.swap.limit).toBe(64 * MEGABYTE);
    });

    test(`v${version}: processes; none, and 0`, () => {
      expect(figures({ pids: { limit: 7 } }).pids.limit).toBe(7);
      expect(figures({ pids: { limit: -1 } }).pids).not.toHaveProperty("limit");
      expect(figures({ pids: { limit: 0 } }).pids.limit).toBe(1);
    });

    test(`v${version}: CPUs and memory nodes, as lists`, () => {
      const { cpuset } = figures({ cpu: { cpus: "0-2,5", mems: "0,1" } });
      expect(cpuset).toMatchObject({ cpus: [0, 1, 2, 5], mems: [0, 1] });
    });

    test(`v${version}: objects for remote memory; "max" is none`, () => {
      const record = written(version, { rdma: { mlx4_0: { hcaHandles: 3, hcaObjects: 10000 } } });
      const dir = record.paths[version === 2 ? "" : "rdma"];
      expect(readStats(record).rdma?.limit).toEqual({ mlx4_0: { hca_handle: 3, hca_object: 10000 } });
      writeFileSync(`${dir}/rdma.max`, "mlx4_0 hca_handle=max hca_object=max\n");
      expect(readStats(record).rdma?.limit).toEqual({ mlx4_0: { hca_handle: NO_LIMIT, hca_object: NO_LIMIT } });
    });
  }

  test("v2: -1 is no limit, of memory and of swap", () => {
    const { memory } = readStats(written(2, { memory: { limit: -1, swap: -1 } }));
    expect(memory.usage.limit).toBe(NO_LIMIT);
    expect(memory.swap.limit).toBe(NO_LIMIT);
  });

  test("hugepages: the usage and the failures of each size", () => {
    const v1 = written(1, { hugepageLimits: [{ pageSize: "2MB", limit: 4 * MEGABYTE }] });
    const dir = v1.paths.hugetlb as string;
    writeFileSync(`${dir}/hugetlb.2MB.usage_in_bytes`, "2097152\n");
    writeFileSync(`${dir}/hugetlb.2MB.max_usage_in_bytes`, "4194304\n");
    writeFileSync(`${dir}/hugetlb.2MB.failcnt`, "3\n");
    expect(readStats(v1).hugetlb).toEqual({ "2MB": { usage: 2 * MEGABYTE, max: 4 * MEGABYTE, failcnt: 3 } });
    const v2 = written(2, { hugepageLimits: [{ pageSize: "2MB", limit: 4 * MEGABYTE }] });
    writeFileSync(`${v2.paths[""]}/hugetlb.2MB.current`, "2097152\n");
    writeFileSync(`${v2.paths[""]}/hugetlb.2MB.events`, "max 3\n");
    expect(readStats(v2).hugetlb["2MB"]).toEqual({ usage: 2 * MEGABYTE, failcnt: 3 });
  });
});
