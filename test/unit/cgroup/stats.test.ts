import { describe, expect, test } from "vitest";
import { NO_LIMIT, parseKeyed, parseList, parseNested, parsePressure } from "../../../src/cgroup/figures.ts";
import { parseBlkio, parseUsageAll } from "../../../src/cgroup/v1/stats.ts";
import { parseIo } from "../../../src/cgroup/v2/stats.ts";

// The texts are what Linux 6.1 (v2) and 6.18 (v1) wrote.
describe("cgroup figures", () => {
  test("v2 io.stat, with devices that only discard and others that did nothing", () => {
    const text = `254:0 rbytes=1572864 wbytes=4096 rios=48 wios=1 dbytes=0 dios=0
7:0 
8:16 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=8192 dios=2`;
    expect(parseIo(text)).toEqual({
      ioServiceBytesRecursive: [
        { major: 254, op: "Read", value: 1572864 },
        { major: 254, op: "Write", value: 4096 },
        { major: 8, minor: 16, op: "Read" },
        { major: 8, minor: 16, op: "Write" },
      ],
      ioServicedRecursive: [
        { major: 254, op: "Read", value: 48 },
        { major: 254, op: "Write", value: 1 },
        { major: 8, minor: 16, op: "Read" },
        { major: 8, minor: 16, op: "Write" },
      ],
    });
  });

  test("v1 blkio files, with an operation or without, and their totals left out", () => {
    const text = `253:0 Read 8192
253:0 Write 0
253:0 Total 8192
8:1 77
Total 8192`;
    expect(parseBlkio(text)).toEqual([
      { major: 253, op: "Read", value: 8192 },
      { major: 253, op: "Write" },
      { major: 253, op: "Total", value: 8192 },
      { major: 8, minor: 1, value: 77 },
    ]);
  });

  test("v1 cpuacct.usage_all", () => {
    expect(parseUsageAll("cpu user system\n0 1501118416683 12\n1 1763351676619 0")).toEqual({
      user: [1501118416683, 1763351676619],
      kernel: [12, 0],
    });
  });

  test("memory.stat and cpu.stat are names with numbers", () => {
    const text =
      "usage_usec 43023\nuser_usec 20011\nsystem_usec 23012\nnr_periods 10\nnr_throttled 2\nthrottled_usec 900";
    expect(parseKeyed(text)).toEqual({
      usage_usec: 43023,
      user_usec: 20011,
      system_usec: 23012,
      nr_periods: 10,
      nr_throttled: 2,
      throttled_usec: 900,
    });
    expect(parseKeyed(undefined)).toEqual({});
    expect(parseKeyed("")).toEqual({});
  });

  test("pressure has averages in percent and totals in microseconds", () => {
    const text =
      "some avg10=1.12 avg60=9.50 avg300=7.45 total=47591539\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0";
    expect(parsePressure(text)).toEqual({
      some: { avg10: 1.12, avg60: 9.5, avg300: 7.45, total: 47591539 },
      full: { avg10: 0, avg60: 0, avg300: 0, total: 0 },
    });
    expect(parsePressure("")).toBeUndefined();
  });

  test("rdma.current and rdma.max, by device", () => {
    const limits = "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n";
    expect(parseNested(limits)).toEqual({
      mlx4_0: { hca_handle: 2, hca_object: 2000 },
      ocrdma1: { hca_handle: 3, hca_object: NO_LIMIT },
    });
    expect(parseNested("")).toEqual({});
    expect(parseNested(undefined)).toEqual({});
  });

  test("lists of CPUs, and a limit beyond all numbers", () => {
    expect(parseList("0-3,7")).toEqual([0, 1, 2, 3, 7]);
    expect(parseList("")).toEqual([]);
    expect(NO_LIMIT).toBeGreaterThan(2 ** 63);
  });
});
