import { describe, expect, test } from "vitest";
import { NO_LIMIT } from "../../../src/cgroup/figures.ts";
import type { CgroupStats } from "../../../src/cgroup/stats.ts";
import { metricsText } from "../../../src/runtime/openmetrics.ts";

const NOTHING: CgroupStats = {
  cpu: { usage: { kernel: 0, user: 0 }, throttling: {} },
  cpuset: {} as CgroupStats["cpuset"],
  memory: {
    usage: { limit: NO_LIMIT, failcnt: 0 },
    swap: { limit: 0, failcnt: 0 },
    kernel: { limit: 0, failcnt: 0 },
    kernelTCP: { limit: 0, failcnt: 0 },
  },
  pids: {},
  blkio: {},
  hugetlb: {},
  intel_rdt: {},
  network_interfaces: null,
};

const running = (id: string, stats: Partial<CgroupStats>) =>
  ({ state: { id, status: "running" }, stats: { ...NOTHING, ...stats } }) as const;

const linesOf = (text: string, name: string) => text.split("\n").filter((line) => line.includes(name));

describe("runtime/openmetrics", () => {
  test("times are seconds, sizes bytes, and a counter ends in _total", () => {
    const text = metricsText([
      running("a", {
        cpu: {
          usage: { total: 1_500_000_000, kernel: 500_000_000, user: 1_000_000_000 },
          throttling: { periods: 10, throttledPeriods: 2, throttledTime: 2_000_000 },
        },
        memory: { ...NOTHING.memory, usage: { limit: 1000, usage: 10, max: 20, failcnt: 3 }, cache: 5 },
      }),
    ]);
    expect(linesOf(text, "cpu_usage_seconds")).toEqual([
      "# TYPE tsrun_container_cpu_usage_seconds counter",
      "# UNIT tsrun_container_cpu_usage_seconds seconds",
      "# HELP tsrun_container_cpu_usage_seconds CPU time used.",
      'tsrun_container_cpu_usage_seconds_total{id="a"} 1.5',
    ]);
    expect(text).toContain('cpu_mode_seconds_total{id="a",mode="kernel"} 0.5\n');
    expect(text).toContain('cpu_throttled_seconds_total{id="a"} 0.002\n');
    expect(text).toContain('cpu_throttled_periods_total{id="a"} 2\n');
    expect(text).toContain('memory_usage_bytes{id="a"} 10\n');
    expect(text).toContain('memory_peak_bytes{id="a"} 20\n');
    expect(text).toContain('memory_limit_bytes{id="a"} 1000\n');
    expect(text).toContain('memory_limit_hits_total{id="a"} 3\n');
  });

  test("the samples of a family stand together, whichever container they are of", () => {
    const text = metricsText([
      running("a", { pids: { current: 1 } }),
      running("b", { pids: { current: 2, limit: 9 } }),
    ]);
    expect(linesOf(text, "container_processes")).toEqual([
      "# TYPE tsrun_container_processes gauge",
      "# HELP tsrun_container_processes Processes and threads.",
      'tsrun_container_processes{id="a"} 1',
      'tsrun_container_processes{id="b"} 2',
      "# TYPE tsrun_container_processes_limit gauge",
      "# HELP tsrun_container_processes_limit Limit of the processes; not there without one.",
      'tsrun_container_processes_limit{id="b"} 9',
    ]);
  });

  test("no limit is no sample, whichever number the kernel has for it", () => {
    for (const limit of [NO_LIMIT, 2 ** 63 - 4096]) {
      const memory = { ...NOTHING.memory, usage: { limit, usage: 1, failcnt: 0 } };
      expect(linesOf(metricsText([running("a", { memory })]), "memory_limit_bytes")).toEqual([]);
    }
  });

  test("devices, pressure and interfaces are labels", () => {
    const line = { avg10: 1, avg60: 1, avg300: 1, total: 3_000_000 };
    const eth0 = { Name: "eth0", RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4 };
    const text = metricsText([
      running("a", {
        memory: { ...NOTHING.memory, psi: { some: line, full: line } },
        blkio: {
          ioServiceBytesRecursive: [
            { major: 8, op: "Read", value: 512 },
            { major: 8, op: "Total", value: 512 },
          ],
          psi: { some: line },
        },
        network_interfaces: [{ ...eth0, TxBytes: 5, TxPackets: 6, TxErrors: 7, TxDropped: 8 }],
      }),
    ]);
    expect(text).toContain('io_bytes_total{id="a",device="8:0",operation="read"} 512\n');
    expect(linesOf(text, "pressure_waiting_seconds_total")).toEqual([
      'tsrun_container_pressure_waiting_seconds_total{id="a",resource="memory"} 3',
      'tsrun_container_pressure_waiting_seconds_total{id="a",resource="io"} 3',
    ]);
    expect(linesOf(text, "pressure_stalled_seconds_total")).toHaveLength(1);
    expect(text).toContain('network_receive_bytes_total{id="a",interface="eth0"} 1\n');
    expect(text).toContain('network_transmit_errors_total{id="a",interface="eth0"} 7\n');
  });

  test("of a container that does not run there is the status", () => {
    const text = metricsText([{ state: { id: "a", status: "stopped" }, stats: undefined }]);
    expect(text.split("\n").filter((line) => !line.startsWith("#"))).toEqual([
      ...["creating", "created", "running", "paused"].map(
        (status) => `tsrun_container_status{id="a",tsrun_container_status="${status}"} 0`,
      ),
      'tsrun_container_status{id="a",tsrun_container_status="stopped"} 1',
      "",
    ]);
  });

  test("it ends with # EOF, even when there is nothing", () => {
    expect(metricsText([])).toBe("# EOF\n");
    expect(metricsText([running("a", {})])).toMatch(/\n# EOF\n$/);
  });

  test("what would end a label is escaped", () => {
    expect(metricsText([running('a"\\\n', { pids: { current: 1 } })])).toContain('{id="a\\"\\\\\\n"} 1');
  });
});
