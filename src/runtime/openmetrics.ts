/**
 * Figures of containers as OpenMetrics text, which Prometheus reads. Names and units: https://openmetrics.io, base units
 * (seconds, bytes, ratios), one family after the other. A figure that a layout of cgroups does not have is left out.
 */

import { NO_LIMIT } from "../cgroup/figures.ts";
import type { CgroupStats, Pressure } from "../cgroup/stats.ts";
import type { ContainerState } from "./options.ts";

export interface Measured {
  state: Pick<ContainerState, "id" | "status">;
  /** Undefined of a container that does not run, or has no cgroup. */
  stats: CgroupStats | undefined;
}

type Sample = readonly [labels: Record<string, string>, value: number | undefined];

interface Family {
  name: string;
  type: "gauge" | "counter" | "stateset";
  unit?: "seconds" | "bytes";
  help: string;
  samples(measured: Measured): Sample[];
}

const NS = 1e9;
const US = 1e6;
const STATUSES = ["creating", "created", "running", "paused", "stopped"];

/** Families in order, "# EOF" at the end. */
export function metricsText(measured: readonly Measured[]): string {
  const lines: string[] = [];
  for (const { name, type, unit, help, samples } of FAMILIES) {
    const found = measured.flatMap((one) =>
      samples(one).map(([labels, value]) => [one.state.id, labels, value] as const),
    );
    const known = found.filter(([, , value]) => value !== undefined && Number.isFinite(value));
    if (known.length === 0) continue;
    lines.push(`# TYPE ${name} ${type}`);
    if (unit !== undefined) lines.push(`# UNIT ${name} ${unit}`);
    lines.push(`# HELP ${name} ${help}`);
    const suffix = type === "counter" ? "_total" : "";
    for (const [id, labels, value] of known) lines.push(`${name}${suffix}${labelText({ id, ...labels })} ${value}`);
  }
  return `${[...lines, "# EOF"].join("\n")}\n`;
}

function labelText(labels: Record<string, string>): string {
  const escaped = (text: string) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",")}}`;
}

/** A family of figures that need statistics; of a container without any there are none. */
function family(
  name: string,
  type: "gauge" | "counter",
  help: string,
  samples: (stats: CgroupStats) => Sample[],
): Family {
  const unit = (["seconds", "bytes"] as const).find((word) => name.endsWith(`_${word}`));
  return {
    name: `tsrun_container_${name}`,
    type,
    ...(unit !== undefined && { unit }),
    help,
    samples: ({ stats }) => (stats === undefined ? [] : samples(stats)),
  };
}

const limit = (value: number | undefined) =>
  value === undefined || value === 0 || value >= NO_LIMIT / 2.1 ? undefined : value;

const FAMILIES: readonly Family[] = [
  {
    name: "tsrun_container_status",
    type: "stateset",
    help: "What the container is now.",
    samples: ({ state }) =>
      STATUSES.map((name) => [{ tsrun_container_status: name }, state.status === name ? 1 : 0] as const),
  },
  family("cpu_usage_seconds", "counter", "CPU time used.", ({ cpu }) => [[{}, (cpu.usage.total ?? 0) / NS]]),
  family("cpu_mode_seconds", "counter", "CPU time used, by where it was spent.", ({ cpu: { usage } }) => [
    [{ mode: "user" }, usage.user / NS],
    [{ mode: "kernel" }, usage.kernel / NS],
  ]),
  family("cpu_periods", "counter", "Periods of the CPU quota that have passed.", ({ cpu: { throttling } }) => [
    [{}, throttling.periods],
  ]),
  family("cpu_throttled_periods", "counter", "Periods in which it was throttled.", ({ cpu: { throttling } }) => [
    [{}, throttling.periods === undefined ? undefined : (throttling.throttledPeriods ?? 0)],
  ]),
  family("cpu_throttled_seconds", "counter", "Time for which it was throttled.", ({ cpu: { throttling } }) => [
    [{}, throttling.periods === undefined ? undefined : (throttling.throttledTime ?? 0) / NS],
  ]),
  family("memory_usage_bytes", "gauge", "Memory in use, page cache included.", ({ memory }) => [
    [{}, memory.usage.usage],
  ]),
  family("memory_peak_bytes", "gauge", "The most memory that was in use at once.", ({ memory }) => [
    [{}, memory.usage.max],
  ]),
  family("memory_limit_bytes", "gauge", "Limit of the memory; not there without one.", ({ memory }) => [
    [{}, limit(memory.usage.limit)],
  ]),
  family("memory_cache_bytes", "gauge", "Page cache in use.", ({ memory }) => [[{}, memory.cache]]),
  family("memory_limit_hits", "counter", "How often the limit of the memory was reached.", ({ memory }) => [
    [{}, memory.usage.usage === undefined ? undefined : memory.usage.failcnt],
  ]),
  family("processes", "gauge", "Processes and threads.", ({ pids }) => [[{}, pids.current]]),
  family("processes_limit", "gauge", "Limit of the processes; not there without one.", ({ pids }) => [
    [{}, pids.limit],
  ]),
  family("io_bytes", "counter", "Bytes read from block devices and written to them.", ({ blkio }) =>
    byDevice(blkio.ioServiceBytesRecursive),
  ),
  family("io_operations", "counter", "Reads and writes of block devices.", ({ blkio }) =>
    byDevice(blkio.ioServicedRecursive),
  ),
  family("pressure_waiting_seconds", "counter", "Time in which some tasks had to wait.", (stats) =>
    ofPressure(stats, "some"),
  ),
  family("pressure_stalled_seconds", "counter", "Time in which all tasks had to wait.", (stats) =>
    ofPressure(stats, "full"),
  ),
  family("network_receive_bytes", "counter", "Bytes received.", (stats) => byInterface(stats, "RxBytes")),
  family("network_transmit_bytes", "counter", "Bytes sent.", (stats) => byInterface(stats, "TxBytes")),
  family("network_receive_packets", "counter", "Packets received.", (stats) => byInterface(stats, "RxPackets")),
  family("network_transmit_packets", "counter", "Packets sent.", (stats) => byInterface(stats, "TxPackets")),
  family("network_receive_errors", "counter", "Errors in receiving.", (stats) => byInterface(stats, "RxErrors")),
  family("network_transmit_errors", "counter", "Errors in sending.", (stats) => byInterface(stats, "TxErrors")),
];

function byDevice(entries: CgroupStats["blkio"]["ioServicedRecursive"]): Sample[] {
  return (entries ?? [])
    .filter(({ op }) => op === "Read" || op === "Write")
    .map(({ major = 0, minor = 0, op = "", value = 0 }) => [
      { device: `${major}:${minor}`, operation: op.toLowerCase() },
      value,
    ]);
}

function ofPressure({ cpu, memory, blkio }: CgroupStats, kind: keyof Pressure): Sample[] {
  const parts = { cpu: cpu.psi, memory: memory.psi, io: blkio.psi };
  return Object.entries(parts).map(([resource, pressure]) => {
    const total = pressure?.[kind]?.total;
    return [{ resource }, total === undefined ? undefined : total / US];
  });
}

type Counter = Exclude<keyof NonNullable<CgroupStats["network_interfaces"]>[number], "Name">;

function byInterface({ network_interfaces }: CgroupStats, counter: Counter): Sample[] {
  return (network_interfaces ?? []).map((one) => [{ interface: one.Name }, one[counter]]);
}
