/**
 * What a cgroup has counted when its container has ended: processes that were killed for want of memory, the most memory
 * that was in use, CPU time. A few files, named beforehand, so that the native monitor can keep them (native/cleanup.c)
 * before it removes the cgroup. Rules: kernel cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst.
 */
import { parseKeyed } from "./figures.ts";
import { readGroupFile } from "./files.ts";
import type { OomAnswer } from "./oom-log.ts";
import type { CgroupRecord } from "./record.ts";
import type { CgroupStats } from "./stats.ts";
import { throttlingFigures, usageFigures } from "./v1/stats.ts";
import { cpuFigures } from "./v2/stats.ts";

export interface CgroupTally {
  /** Has the kernel killed some of its processes for want of memory, where their number is not known? */
  oomKilled?: true;
  /** How many it has killed. */
  oomKills?: number;
  /** The most memory that was in use at once, in bytes; the kernel's own on the container's behalf included. */
  memoryPeak?: number;
  cpu?: Pick<CgroupStats["cpu"], "usage" | "throttling">;
}

/**
 * The files that `tally` takes, in its order; "" for one that is not there. A cgroup that was there before the container
 * has counted what others did, so it has none.
 */
export function tallyFiles(record: CgroupRecord): string[] {
  const isOurs = isScope(record) && !record.shared;
  const file = (controller: string, name: string) => {
    const dir = record.paths[controller];
    return dir !== undefined && (isOurs || record.made.includes(dir)) ? `${dir}/${name}` : "";
  };
  if (record.layout === "v2") return [file("", "memory.events"), file("", "memory.peak"), file("", "cpu.stat")];
  return [
    file("memory", "memory.oom_control"),
    file("memory", "memory.max_usage_in_bytes"),
    file("cpu", "cpu.stat"),
    file("cpuacct", "cpuacct.usage"),
    file("cpuacct", "cpuacct.stat"),
  ];
}

/** Is it that of a scope, which begins with the container and goes with its last process? A slice may have been there. */
export function isScope({ systemd }: CgroupRecord): boolean {
  return systemd?.unit.endsWith(".scope") === true;
}

/** Are there processes in it? Of a cgroup of v1 that cannot be told: not of one that has ended, then. */
export function isPopulated({ paths }: CgroupRecord): boolean {
  const unified = paths[""];
  return unified !== undefined && parseKeyed(readGroupFile(`${unified}/cgroup.events`)).populated === 1;
}

/** No key of the kernel's: there were kills, and nobody knows how many. */
const SOME_KILLS = "some_oom_kills";

/** What the first of tallyFiles would say of a cgroup that is gone, of which only this is known. */
export function killsText({ oomKilled, oomKills }: OomAnswer): string {
  if (oomKills !== undefined) return `oom_kill ${oomKills}\n`;
  return oomKilled ? `${SOME_KILLS} 1\n` : "";
}

/** Reads them now. A cgroup that is gone tells nothing. */
export function readTally(record: CgroupRecord): CgroupTally {
  return tally(record.layout === "v2" ? 2 : 1, readTallyFiles(record));
}

/** What the files of tallyFiles hold now; undefined for one that is not there. */
export function readTallyFiles(record: CgroupRecord): (string | undefined)[] {
  return tallyFiles(record).map((path) => (path === "" ? undefined : readGroupFile(path)));
}

/** @param texts what the files of tallyFiles hold; an empty one was not there */
export function tally(version: 1 | 2, texts: readonly (string | undefined)[]): CgroupTally {
  const [events, peak, stat, usage, times] = texts;
  const result: CgroupTally = {};
  const { oom_kill, [SOME_KILLS]: some } = parseKeyed(events);
  if (oom_kill !== undefined) result.oomKills = oom_kill;
  if (some !== undefined) result.oomKilled = true;
  if (peak) result.memoryPeak = Number(peak);
  if (version === 2) {
    if (stat) result.cpu = cpuFigures(stat);
  } else if (usage) {
    result.cpu = { usage: usageFigures(usage, times), throttling: throttlingFigures(stat) };
  }
  return result;
}
