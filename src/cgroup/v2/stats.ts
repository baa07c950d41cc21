/** Figures of cgroup v2, as `runc events` names them. Rules: kernel cgroup-v2.rst "Controllers". */
import { memoryEntry, NO_LIMIT, parseKeyed, parseList, readNumber } from "../figures.ts";
import { listGroupFiles, readGroupFile } from "../files.ts";
import type { BlkioEntry, BlkioLists, BlkioStats, CgroupStats } from "../stats.ts";

const US = 1000;

export function statsV2(dir: string): CgroupStats {
  const read = (file: string) => readGroupFile(`${dir}/${file}`);
  const cpus = parseList(read("cpuset.cpus"));
  const mems = parseList(read("cpuset.mems"));
  return {
    cpu: cpuFigures(read("cpu.stat")),
    cpuset: {
      ...(cpus.length > 0 && { cpus }),
      cpu_exclusive: 0,
      ...(mems.length > 0 && { mems }),
      mem_hardwall: 0,
      mem_exclusive: 0,
      memory_migrate: 0,
      memory_spread_page: 0,
      memory_spread_slab: 0,
      memory_pressure: 0,
      sched_load_balance: 0,
      sched_relax_domain_level: 0,
    },
    memory: memoryStats(dir),
    pids: pidsStats(dir),
    blkio: parseIo(read("io.stat")),
    hugetlb: hugetlbStats(dir),
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** CPU time and throttling in nanoseconds, of the text of cpu.stat. */
export function cpuFigures(text: string | undefined): Pick<CgroupStats["cpu"], "usage" | "throttling"> {
  const cpu = parseKeyed(text);
  const total = (cpu.usage_usec ?? 0) * US;
  return {
    usage: {
      ...(total > 0 && { total }),
      kernel: (cpu.system_usec ?? 0) * US,
      user: (cpu.user_usec ?? 0) * US,
    },
    throttling: {
      ...(cpu.nr_periods && { periods: cpu.nr_periods }),
      ...(cpu.nr_throttled && { throttledPeriods: cpu.nr_throttled }),
      ...(cpu.throttled_usec && { throttledTime: cpu.throttled_usec * US }),
    },
  };
}

function memoryStats(dir: string): CgroupStats["memory"] {
  const raw = parseKeyed(readGroupFile(`${dir}/memory.stat`));
  const number = (file: string) => readNumber(`${dir}/${file}`) ?? 0;
  const events = parseKeyed(readGroupFile(`${dir}/memory.events`));
  const [usage, limit] = [number("memory.current"), number("memory.max")];
  // As on v1, and as runc has it: swap is counted with the memory.
  const swapUsage = number("memory.swap.current");
  const swapLimit = number("memory.swap.max");
  const swap = memoryEntry(
    swapLimit >= NO_LIMIT || limit >= NO_LIMIT ? Math.max(swapLimit, limit) : swapLimit + limit,
    swapUsage + usage,
    0,
    parseKeyed(readGroupFile(`${dir}/memory.swap.events`)).fail ?? 0,
  );
  return {
    ...((raw.file ?? 0) > 0 && { cache: raw.file as number }),
    usage: memoryEntry(limit, usage, number("memory.peak"), events.max ?? 0),
    swap,
    kernel: memoryEntry(0, raw.kernel ?? raw.kernel_stack ?? 0),
    kernelTCP: memoryEntry(0, raw.sock ?? 0),
    ...(Object.keys(raw).length > 0 && { raw }),
  };
}

function pidsStats(dir: string): CgroupStats["pids"] {
  const current = readNumber(`${dir}/pids.current`) ?? 0;
  const limit = readGroupFile(`${dir}/pids.max`) ?? "max";
  return { ...(current > 0 && { current }), ...(limit !== "max" && { limit: Number(limit) }) };
}

/** Members of a line of io.stat, by the list of runc that they are in and the operation they count. */
const IO_MEMBERS: Readonly<Record<string, readonly [list: keyof BlkioLists, op: string]>> = {
  rbytes: ["ioServiceBytesRecursive", "Read"],
  wbytes: ["ioServiceBytesRecursive", "Write"],
  rios: ["ioServicedRecursive", "Read"],
  wios: ["ioServicedRecursive", "Write"],
};

/** "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" a device. */
export function parseIo(text: string | undefined): BlkioStats {
  const stats: BlkioStats = {};
  for (const line of (text ?? "").split("\n")) {
    const [device = "", ...members] = line.split(" ");
    const match = /^(\d+):(\d+)$/.exec(device);
    if (match === null) continue;
    const [major, minor] = [Number(match[1]), Number(match[2])];
    for (const member of members) {
      const [name = "", text = "0"] = member.split("=");
      const place = IO_MEMBERS[name];
      if (place === undefined) continue;
      const [list, op] = place;
      const value = Number(text);
      const entry: BlkioEntry = { ...(major && { major }), ...(minor && { minor }), op, ...(value && { value }) };
      stats[list] = [...(stats[list] ?? []), entry];
    }
  }
  return stats;
}

function hugetlbStats(dir: string): CgroupStats["hugetlb"] {
  const stats: CgroupStats["hugetlb"] = {};
  for (const file of listGroupFiles(dir)) {
    const size = /^hugetlb\.(\d+[KMG]B)\.current$/.exec(file)?.[1];
    if (size === undefined) continue;
    const usage = readNumber(`${dir}/hugetlb.${size}.current`) ?? 0;
    const failcnt = parseKeyed(readGroupFile(`${dir}/hugetlb.${size}.events`)).max ?? 0;
    stats[size] = { ...(usage > 0 && { usage }), failcnt };
  }
  return stats;
}
