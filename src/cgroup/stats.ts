/**
 * What a cgroup has used, in the members and the units of `runc events` (its types/events.go): bytes, nanoseconds.
 * Members that are 0 are left out where runc leaves them out, so a reader sees the same.
 */
import { parseNested, readPressure } from "./figures.ts";
import { readGroupFile } from "./files.ts";
import type { CgroupRecord } from "./record.ts";
import { statsV1 } from "./v1/stats.ts";
import { statsV2 } from "./v2/stats.ts";

/** What the cgroup of a container has used: bytes and nanoseconds; a limit of 2^64 - 1 is "none". */
export interface CgroupStats {
  cpu: {
    /** Nanoseconds. */
    usage: {
      total?: number;
      percpu?: number[];
      percpu_kernel?: number[];
      percpu_user?: number[];
      kernel: number;
      user: number;
    };
    throttling: { periods?: number; throttledPeriods?: number; throttledTime?: number };
    psi?: Pressure;
  };
  cpuset: CpusetStats;
  memory: {
    cache?: number;
    usage: MemoryEntry;
    swap: MemoryEntry;
    kernel: MemoryEntry;
    kernelTCP: MemoryEntry;
    /** memory.stat as it is. */
    raw?: Record<string, number>;
    psi?: Pressure;
  };
  pids: { current?: number; limit?: number };
  blkio: BlkioStats;
  hugetlb: Record<string, { usage?: number; max?: number; failcnt: number }>;
  /** By device; not there on a machine without any. runc counts these and does not print them. */
  rdma?: { current: Record<string, RdmaCounts>; limit: Record<string, RdmaCounts> };
  /** Of a container with linux.intelRdt. */
  intel_rdt: RdtStats;
  /** Of the container's own network namespace, but for lo; null when it has none. */
  network_interfaces: NetworkInterface[] | null;
}

/** Handles and objects of a device for remote memory; a limit of 2^64 - 1 is "none". */
export interface RdmaCounts {
  hca_handle?: number;
  hca_object?: number;
}

/** Shares of the L3 cache and of the memory bandwidth, as lines of resctrl's schemata, and what was used of them. */
export interface RdtStats {
  l3_cache_info?: { cbm_mask?: string; min_cbm_bits?: number; num_closids?: number };
  /** What the machine has to share out. */
  l3_cache_schema_root?: string;
  l3_cache_schema?: string;
  mem_bw_info?: { bandwidth_gran?: number; delay_linear?: number; min_bandwidth?: number; num_closids?: number };
  mem_bw_schema_root?: string;
  mem_bw_schema?: string;
  /** Bytes, of each L3 cache. */
  mbm_stats?: { mbm_total_bytes: number; mbm_local_bytes: number }[];
  cmt_stats?: { llc_occupancy: number }[];
}

/** As the container sees it: received and sent since the interface is there. */
export interface NetworkInterface {
  Name: string;
  RxBytes: number;
  RxPackets: number;
  RxErrors: number;
  RxDropped: number;
  TxBytes: number;
  TxPackets: number;
  TxErrors: number;
  TxDropped: number;
}

/** Bytes; a limit of 2^64 - 1 is "none". */
export interface MemoryEntry {
  limit: number;
  usage?: number;
  max?: number;
  failcnt: number;
}

export interface CpusetStats {
  cpus?: number[];
  cpu_exclusive: number;
  mems?: number[];
  mem_hardwall: number;
  mem_exclusive: number;
  memory_migrate: number;
  memory_spread_page: number;
  memory_spread_slab: number;
  memory_pressure: number;
  sched_load_balance: number;
  sched_relax_domain_level: number;
}

export interface BlkioEntry {
  major?: number;
  minor?: number;
  op?: string;
  value?: number;
}

export interface BlkioStats extends BlkioLists {
  psi?: Pressure;
}

export interface BlkioLists {
  ioServiceBytesRecursive?: BlkioEntry[];
  ioServicedRecursive?: BlkioEntry[];
  ioQueueRecursive?: BlkioEntry[];
  ioServiceTimeRecursive?: BlkioEntry[];
  ioWaitTimeRecursive?: BlkioEntry[];
  ioMergedRecursive?: BlkioEntry[];
  ioTimeRecursive?: BlkioEntry[];
  sectorsRecursive?: BlkioEntry[];
}

/** Pressure stall information (kernel accounting/psi.rst): averages in percent, totals in microseconds. */
export interface Pressure {
  some?: PressureLine;
  full?: PressureLine;
}

export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  total: number;
}

/** Reads them now; a cgroup that is gone has used nothing. */
export function readStats(record: CgroupRecord): CgroupStats {
  const stats = record.layout === "v2" ? statsV2(record.paths[""] ?? "") : statsV1(record.paths);
  const psi = record.paths[""];
  if (psi !== undefined) addPressure(stats, psi);
  const rdma = record.layout === "v2" ? psi : record.paths.rdma;
  if (rdma !== undefined) addRdma(stats, rdma);
  return stats;
}

function addPressure(stats: CgroupStats, dir: string): void {
  const cpu = readPressure(`${dir}/cpu.pressure`);
  const memory = readPressure(`${dir}/memory.pressure`);
  if (cpu !== undefined) stats.cpu.psi = cpu;
  const io = readPressure(`${dir}/io.pressure`);
  if (memory !== undefined) stats.memory.psi = memory;
  if (io !== undefined) stats.blkio.psi = io;
}

function addRdma(stats: CgroupStats, dir: string): void {
  const current = parseNested(readGroupFile(`${dir}/rdma.current`));
  const limit = parseNested(readGroupFile(`${dir}/rdma.max`));
  if (Object.keys({ ...current, ...limit }).length > 0) stats.rdma = { current, limit };
}
