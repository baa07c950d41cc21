/**
 * What a container may use of the L3 cache and the memory bandwidth, and what it has used, in the members of `runc events`
 * (its types/events.go). Rules: kernel filesystems/resctrl.rst.
 */
import { readNumber } from "../cgroup/figures.ts";
import { listGroupFiles, readGroupFile } from "../cgroup/files.ts";
import type { RdtStats } from "../cgroup/stats.ts";
import { dirname } from "../path.ts";
import { statSync } from "../sys/fs.ts";
import type { RdtRecord } from "./intel-rdt.ts";

/** Of groups that are gone, and of what this machine cannot share out or count, there is nothing. */
export function rdtStats({ group, monitor }: RdtRecord): RdtStats {
  // The class of service of all that are in no other is the root itself.
  const root = statSync(`${group}/info`) === undefined ? dirname(group) : group;
  const above = readGroupFile(`${root}/schemata`);
  const own = readGroupFile(`${group}/schemata`);
  return known({
    l3_cache_info: nonEmpty(
      known({
        cbm_mask: readGroupFile(`${root}/info/L3/cbm_mask`)?.trim(),
        ...numbers(`${root}/info/L3`, ["min_cbm_bits", "num_closids"]),
      }),
    ),
    l3_cache_schema_root: linesOf(above, "L3"),
    l3_cache_schema: linesOf(own, "L3"),
    mem_bw_info: nonEmpty(
      numbers(`${root}/info/MB`, ["bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"]),
    ),
    mem_bw_schema_root: linesOf(above, "MB"),
    mem_bw_schema: linesOf(own, "MB"),
    ...counted(`${monitor ?? group}/mon_data`),
  });
}

/** A directory for each L3 cache, with a file for each thing that is counted. */
function counted(dir: string): Pick<RdtStats, "mbm_stats" | "cmt_stats"> {
  const mbm: RdtStats["mbm_stats"] = [];
  const cmt: RdtStats["cmt_stats"] = [];
  for (const name of cachesOf(dir)) {
    const { mbm_total_bytes, mbm_local_bytes, llc_occupancy } = numbers(`${dir}/${name}`, [
      "mbm_total_bytes",
      "mbm_local_bytes",
      "llc_occupancy",
    ]);
    if (mbm_total_bytes !== undefined || mbm_local_bytes !== undefined) {
      mbm.push({ mbm_total_bytes: mbm_total_bytes ?? 0, mbm_local_bytes: mbm_local_bytes ?? 0 });
    }
    if (llc_occupancy !== undefined) cmt.push({ llc_occupancy });
  }
  return { ...(mbm.length > 0 && { mbm_stats: mbm }), ...(cmt.length > 0 && { cmt_stats: cmt }) };
}

function cachesOf(dir: string): string[] {
  return listGroupFiles(dir)
    .filter((name) => name.startsWith("mon_L3_"))
    .sort();
}

/** Numbers that files of these names hold: not those that say "Unavailable", for a counter that has none yet, or "Error". */
function numbers<Name extends string>(dir: string, names: readonly Name[]): Partial<Record<Name, number>> {
  const found: Partial<Record<Name, number>> = {};
  for (const name of names) {
    const value = readNumber(`${dir}/${name}`);
    if (value !== undefined && !Number.isNaN(value)) found[name] = value;
  }
  return found;
}

/** "L3:0=ff", or with code and data apart "L3CODE:0=ff" and "L3DATA:0=ff": without what the kernel fills up with. */
function linesOf(schemata: string | undefined, resource: string): string | undefined {
  const lines = (schemata ?? "").split("\n").map((line) => line.trim());
  return lines.filter((line) => line.startsWith(resource)).join("\n") || undefined;
}

function known<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}

function nonEmpty<T extends object>(members: T): T | undefined {
  return Object.keys(members).length > 0 ? members : undefined;
}
