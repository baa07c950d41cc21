import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { rdtStats } from "../../../src/runtime/intel-rdt-stats.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tsrun-resctrl-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Files with their texts, and the directories that they lie in. */
function files(texts: Record<string, string>): void {
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
}

/** A machine of two L3 caches, as the kernel shows it. */
const MACHINE = {
  "info/L3/cbm_mask": "fffff",
  "info/L3/min_cbm_bits": "1",
  "info/L3/num_closids": "16",
  "info/L3/shareable_bits": "c0000",
  "info/MB/bandwidth_gran": "10",
  "info/MB/delay_linear": "1",
  "info/MB/min_bandwidth": "10",
  "info/MB/num_closids": "8",
  schemata: "    L3:0=fffff;1=fffff\n    MB:0= 100;1= 100",
};

const INFO = {
  l3_cache_info: { cbm_mask: "fffff", min_cbm_bits: 1, num_closids: 16 },
  l3_cache_schema_root: "L3:0=fffff;1=fffff",
  mem_bw_info: { bandwidth_gran: 10, delay_linear: 1, min_bandwidth: 10, num_closids: 8 },
  mem_bw_schema_root: "MB:0= 100;1= 100",
};

describe("runtime/intel-rdt-stats", () => {
  test("the shares of the container are beside those that the machine has", () => {
    files({ ...MACHINE, "web/schemata": "    L3:0=0000f;1=0000f\n    MB:0=  20;1=  70" });
    expect(rdtStats({ group: join(root, "web"), isOurs: true })).toEqual({
      ...INFO,
      l3_cache_schema: "L3:0=0000f;1=0000f",
      mem_bw_schema: "MB:0=  20;1=  70",
    });
  });

  test("what was used is told of each L3 cache in turn: of the container's own group, where it has one", () => {
    const used = (group: string, bytes: string) => ({
      [`${group}/mon_data/mon_L3_01/llc_occupancy`]: "0",
      [`${group}/mon_data/mon_L3_01/mbm_total_bytes`]: "7",
      [`${group}/mon_data/mon_L3_01/mbm_local_bytes`]: "5",
      [`${group}/mon_data/mon_L3_00/llc_occupancy`]: bytes,
      [`${group}/mon_data/mon_L3_00/mbm_total_bytes`]: bytes,
      [`${group}/mon_data/mon_L3_00/mbm_local_bytes`]: "Unavailable",
    });
    files({ ...used("gold", "900000"), ...used("gold/mon_groups/web", "65536") });
    const record = { group: join(root, "gold"), isOurs: false };
    const figures = (bytes: number) => ({
      mbm_stats: [
        { mbm_total_bytes: bytes, mbm_local_bytes: 0 },
        { mbm_total_bytes: 7, mbm_local_bytes: 5 },
      ],
      cmt_stats: [{ llc_occupancy: bytes }, { llc_occupancy: 0 }],
    });
    expect(rdtStats(record)).toEqual(figures(900000));
    expect(rdtStats({ ...record, monitor: join(root, "gold/mon_groups/web") })).toEqual(figures(65536));
  });

  test("the class that everything is in is the machine's own", () => {
    files(MACHINE);
    expect(rdtStats({ group: root, isOurs: false })).toEqual({
      ...INFO,
      l3_cache_schema: INFO.l3_cache_schema_root,
      mem_bw_schema: INFO.mem_bw_schema_root,
    });
  });

  test("a cache that has code and data apart has a line for each, and no one mask", () => {
    files({ "info/L3CODE/cbm_mask": "ff", "web/schemata": "L3CODE:0=f\nL3DATA:0=f0\nL2:0=ff" });
    expect(rdtStats({ group: join(root, "web"), isOurs: true })).toEqual({
      l3_cache_schema: "L3CODE:0=f\nL3DATA:0=f0",
    });
  });

  test("of a group that is gone there is nothing", () => {
    expect(rdtStats({ group: join(root, "web"), isOurs: true })).toEqual({});
  });
});
