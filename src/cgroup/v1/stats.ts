/** Figures of cgroup v1. Rules: kernel cgroup-v1/*.rst (memory, cpuacct, blkio-controller, hugetlb), scheduler/sched-bwc.rst. */
import { memoryEntry, parseKeyed, parseList, readNumber } from "../figures.ts";
import { listGroupFiles, readGroupFile } from "../files.ts";
import type { BlkioEntry, BlkioLists, BlkioStats, CgroupStats, CpusetStats, MemoryEntry } from "../stats.ts";

/** USER_HZ: cpuacct.stat counts in hundredths of a second on every machine. */
const TICK_NS = 10_000_000;

/** @param paths the cgroup of each controller */
export function statsV1(paths: Readonly<Record<string, string>>): CgroupStats {
  const { cpuacct, cpu, cpuset, memory, pids, blkio, hugetlb } = paths;
  return {
    cpu: { usage: cpuUsage(cpuacct), throttling: throttlingFigures(read(cpu, "cpu.stat")) },
    cpuset: cpusetStats(cpuset),
    memory: memoryStats(memory),
    pids: pids === undefined ? {} : pidsStats(pids),
    blkio: blkio === undefined ? {} : blkioStats(blkio),
    hugetlb: hugetlb === undefined ? {} : hugetlbStats(hugetlb),
    intel_rdt: {},
    network_interfaces: null,
  };
}

function cpuUsage(dir: string | undefined): CgroupStats["cpu"]["usage"] {
  const { total, kernel, user } = usageFigures(read(dir, "cpuacct.usage"), read(dir, "cpuacct.stat"));
  const percpu = numbers(read(dir, "cpuacct.usage_percpu"));
  const all = parseUsageAll(read(dir, "cpuacct.usage_all"));
  return {
    ...(total !== undefined && { total }),
    ...(percpu.length > 0 && { percpu }),
    ...(all.kernel.length > 0 && { percpu_kernel: all.kernel, percpu_user: all.user }),
    kernel,
    user,
  };
}

/** CPU time in nanoseconds, of the texts of cpuacct.usage and cpuacct.stat. */
export function usageFigures(
  usage: string | undefined,
  stat: string | undefined,
): Pick<CgroupStats["cpu"]["usage"], "total" | "kernel" | "user"> {
  const { user = 0, system = 0 } = parseKeyed(stat);
  const total = Number(usage ?? 0);
  return { ...(total > 0 && { total }), kernel: system * TICK_NS, user: user * TICK_NS };
}

/** "cpu user system", then a line of nanoseconds a CPU. */
export function parseUsageAll(text: string | undefined): { user: number[]; kernel: number[] } {
  const user: number[] = [];
  const kernel: number[] = [];
  for (const line of (text ?? "").split("\n").slice(1)) {
    const [cpu, inUser, inKernel] = line.split(" ");
    if (!cpu) continue;
    user.push(Number(inUser));
    kernel.push(Number(inKernel));
  }
  return { user, kernel };
}

/** Of the text of cpu.stat. */
export function throttlingFigures(stat: string | undefined): CgroupStats["cpu"]["throttling"] {
  const { nr_periods = 0, nr_throttled = 0, throttled_time = 0 } = parseKeyed(stat);
  return {
    ...(nr_periods > 0 && { periods: nr_periods }),
    ...(nr_throttled > 0 && { throttledPeriods: nr_throttled }),
    ...(throttled_time > 0 && { throttledTime: throttled_time }),
  };
}

function cpusetStats(dir: string | undefined): CpusetStats {
  const flag = (name: string) => Number(read(dir, `cpuset.${name}`) ?? 0);
  const cpus = parseList(read(dir, "cpuset.cpus"));
  const mems = parseList(read(dir, "cpuset.mems"));
  return {
    ...(cpus.length > 0 && { cpus }),
    cpu_exclusive: flag("cpu_exclusive"),
    ...(mems.length > 0 && { mems }),
    mem_hardwall: flag("mem_hardwall"),
    mem_exclusive: flag("mem_exclusive"),
    memory_migrate: flag("memory_migrate"),
    memory_spread_page: flag("memory_spread_page"),
    memory_spread_slab: flag("memory_spread_slab"),
    memory_pressure: flag("memory_pressure"),
    sched_load_balance: flag("sched_load_balance"),
    sched_relax_domain_level: flag("sched_relax_domain_level"),
  };
}

function memoryStats(dir: string | undefined): CgroupStats["memory"] {
  const raw = parseKeyed(read(dir, "memory.stat"));
  const entry = (name: string): MemoryEntry => {
    const at = (file: string) => (dir === undefined ? undefined : readNumber(`${dir}/${name}.${file}`));
    return memoryEntry(at("limit_in_bytes"), at("usage_in_bytes"), at("max_usage_in_bytes"), at("failcnt"));
  };
  return {
    ...((raw.cache ?? 0) > 0 && { cache: raw.cache as number }),
    usage: entry("memory"),
    swap: entry("memory.memsw"),
    kernel: entry("memory.kmem"),
    kernelTCP: entry("memory.kmem.tcp"),
    ...(Object.keys(raw).length > 0 && { raw }),
  };
}

function pidsStats(dir: string): CgroupStats["pids"] {
  const current = readNumber(`${dir}/pids.current`) ?? 0;
  const limit = readGroupFile(`${dir}/pids.max`) ?? "max";
  return { ...(current > 0 && { current }), ...(limit !== "max" && { limit: Number(limit) }) };
}

/** The names of runc for the files of the bfq scheduler; without one the throttling policy counts. */
const BLKIO_FILES: Readonly<Record<keyof BlkioLists, string>> = {
  ioServiceBytesRecursive: "io_service_bytes_recursive",
  ioServicedRecursive: "io_serviced_recursive",
  ioQueueRecursive: "io_queued_recursive",
  ioServiceTimeRecursive: "io_service_time_recursive",
  ioWaitTimeRecursive: "io_wait_time_recursive",
  ioMergedRecursive: "io_merged_recursive",
  ioTimeRecursive: "time_recursive",
  sectorsRecursive: "sectors_recursive",
};

function blkioStats(dir: string): BlkioStats {
  const stats: BlkioStats = {};
  for (const [name, file] of Object.entries(BLKIO_FILES) as [keyof BlkioLists, string][]) {
    let entries = parseBlkio(readGroupFile(`${dir}/blkio.bfq.${file}`));
    if (entries.length === 0) entries = parseBlkio(readGroupFile(`${dir}/blkio.throttle.${file}`));
    if (entries.length > 0) stats[name] = entries;
  }
  return stats;
}

/** "8:0 Read 4096", or "8:0 4096" where there is one figure a device; the total at the end is left out. */
export function parseBlkio(text: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of (text ?? "").split("\n")) {
    const match = /^(\d+):(\d+) (?:(\w+) )?(\d+)$/.exec(line);
    if (match === null) continue;
    const [major, minor, value] = [Number(match[1]), Number(match[2]), Number(match[4])];
    entries.push({
      ...(major > 0 && { major }),
      ...(minor > 0 && { minor }),
      ...(match[3] !== undefined && { op: match[3] }),
      ...(value > 0 && { value }),
    });
  }
  return entries;
}

function hugetlbStats(dir: string): CgroupStats["hugetlb"] {
  const stats: CgroupStats["hugetlb"] = {};
  for (const file of listGroupFiles(dir)) {
    const size = /^hugetlb\.(\d+[KMG]B)\.usage_in_bytes$/.exec(file)?.[1];
    if (size === undefined) continue;
    const at = (name: string) => readNumber(`${dir}/hugetlb.${size}.${name}`) ?? 0;
    const [usage, max] = [at("usage_in_bytes"), at("max_usage_in_bytes")];
    stats[size] = { ...(usage > 0 && { usage }), ...(max > 0 && { max }), failcnt: at("failcnt") };
  }
  return stats;
}

function read(dir: string | undefined, file: string): string | undefined {
  return dir === undefined ? undefined : readGroupFile(`${dir}/${file}`);
}

function numbers(text: string | undefined): number[] {
  return (text ?? "").split(" ").filter(Boolean).map(Number);
}
