/**
 * Limits as properties of a unit, beside the files: systemd writes the files again from its properties whenever it
 * reloads, and what it does not know of would be lost. Touches no file.
 * Rules: systemd.resource-control(5); org.freedesktop.systemd1(5), whose names end in the unit ("USec").
 */
import type { ControllerWrites } from "../write.ts";
import type { Variant } from "./message.ts";

/** Name and value, as StartTransientUnit and SetUnitProperties take them. */
export type UnitProperty = [name: string, value: Variant];

const INFINITY = 0xffff_ffff_ffff_ffffn;
const SECOND_US = 1_000_000n;

export function uint64(value: bigint): Variant {
  return { signature: "t", value };
}

export function boolean(value: boolean): Variant {
  return { signature: "b", value };
}

export function text(value: string): Variant {
  return { signature: "s", value };
}

/** The property that is one file's value as a number, "max" for no limit. */
const NUMBERS: Record<string, string> = {
  "memory.max": "MemoryMax",
  "memory.high": "MemoryHigh",
  "memory.low": "MemoryLow",
  "memory.min": "MemoryMin",
  "memory.swap.max": "MemorySwapMax",
  "pids.max": "TasksMax",
  "cpu.weight": "CPUWeight",
  "io.weight": "IOWeight",
  "memory.limit_in_bytes": "MemoryLimit",
  "cpu.shares": "CPUShares",
  "blkio.weight": "BlockIOWeight",
};

/** Sets of CPUs and of memory nodes. */
const SETS: Record<string, string> = { "cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes" };

/**
 * What of the writes systemd has a property for.
 *
 * @param version of cgroups: v1 has cpuset files too, and systemd does not set those
 * @param systemd its release: older ones refuse what they do not know, and have the file alone
 */
export function limitProperties(list: readonly ControllerWrites[], version: 1 | 2, systemd: number): UnitProperty[] {
  const values = new Map<string, string>();
  for (const { writes } of list) {
    for (const { file, value, otherwise } of writes) {
      values.set(file, value);
      // BFQ's file first, the controller's own when the kernel has no BFQ: the unit has one weight.
      if (otherwise !== undefined) values.set(otherwise.file, otherwise.value);
    }
  }
  const properties: UnitProperty[] = [];
  for (const [file, name] of Object.entries(NUMBERS)) {
    const number = asNumber(values.get(file));
    if (number !== undefined) properties.push([name, uint64(number)]);
  }
  properties.push(...quotaProperties(values, systemd));
  if (version === 2 && systemd >= 244) {
    for (const [file, name] of Object.entries(SETS)) {
      const bits = setBits(values.get(file));
      if (bits !== undefined) properties.push([name, { signature: "ay", value: bits }]);
    }
  }
  return properties;
}

/** Does anything of this need to know systemd's release? Asking costs a message. */
export function needsRelease(list: readonly ControllerWrites[]): boolean {
  const files = ["cpu.max", "cpu.cfs_period_us", "cpuset.cpus", "cpuset.mems"];
  return list.some(({ writes }) => writes.some(({ file }) => files.includes(file)));
}

/** A device's weight ("8:0 100") has no property that is not a path; "default 100" is the cgroup's own. */
function asNumber(value: string | undefined): bigint | undefined {
  if (value === "max" || value === "-1") return INFINITY;
  const digits = /^(?:default )?(\d+)$/.exec(value ?? "")?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

/** "quota period" in microseconds: systemd has the quota for a second of it. */
function quotaProperties(values: ReadonlyMap<string, string>, systemd: number): UnitProperty[] {
  const [quota, period] = (values.get("cpu.max") ?? v1Quota(values) ?? "").split(" ");
  if (!quota) return [];
  const properties: UnitProperty[] = [];
  const periodUs = BigInt(period || 100_000);
  if (systemd >= 242) properties.push(["CPUQuotaPeriodUSec", uint64(periodUs)]);
  properties.push(["CPUQuotaPerSecUSec", uint64(quota === "max" ? INFINITY : perSecond(BigInt(quota), periodUs))]);
  return properties;
}

function v1Quota(values: ReadonlyMap<string, string>): string | undefined {
  const quota = values.get("cpu.cfs_quota_us");
  const period = values.get("cpu.cfs_period_us");
  if (quota === undefined) return undefined;
  return `${Number(quota) < 0 ? "max" : quota} ${period ?? ""}`;
}

/** systemd counts in hundredths of a CPU, and rounds down: what it would write must not be below what was asked. */
function perSecond(quotaUs: bigint, periodUs: bigint): bigint {
  const exact = (quotaUs * SECOND_US) / (periodUs === 0n ? 100_000n : periodUs);
  const step = 10_000n;
  return exact % step === 0n ? exact : (exact / step + 1n) * step;
}

/** "0-2,4" as bits, the lowest CPU first; undefined for none, and for what is no list. */
export function setBits(list: string | undefined): Uint8Array | undefined {
  if (!list) return undefined;
  const numbers: number[] = [];
  for (const part of list.trim().split(",")) {
    const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (range === null) return undefined;
    const first = Number(range[1]);
    const last = Number(range[2] ?? range[1]);
    for (let n = first; n <= last; n++) numbers.push(n);
  }
  const bits = new Uint8Array(Math.floor(Math.max(...numbers, 0) / 8) + 1);
  for (const n of numbers) bits[n >> 3] = (bits[n >> 3] as number) | (1 << (n & 7));
  return bits;
}
