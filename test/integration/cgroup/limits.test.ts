/** What limits do to processes, and what of them the kernel shows. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import type { LinuxResources } from "../../../src/spec/types.ts";
import { needs } from "../../helpers/needs.ts";
import { destroyAll, make, read, runIn } from "./helpers.ts";

afterEach(destroyAll);

function firstDisk(): { major: number; minor: number } {
  const [, major, minor] = /^\s*(\d+)\s+(\d+)\s+\d+ [a-z]/m.exec(readFileSync("/proc/partitions", "utf8")) ?? [];
  return { major: Number(major), minor: Number(minor) };
}

/** What else v1 limits, where the kernel has it. */
const LESSER: Record<string, { resources: LinuxResources; file: string; shows: RegExp }> = {
  pids: { resources: { pids: { limit: 7 } }, file: "pids.max", shows: /^7$/ },
  net_cls: { resources: { network: { classID: 0x100001 } }, file: "net_cls.classid", shows: /^1048577$/ },
  net_prio: {
    resources: { network: { priorities: [{ name: "lo", priority: 5 }] } },
    file: "net_prio.ifpriomap",
    shows: /^lo 5$/m,
  },
  hugetlb: {
    resources: { hugepageLimits: [{ pageSize: "2MB", limit: 4 << 20 }] },
    file: "hugetlb.2MB.limit_in_bytes",
    shows: /^4194304$/,
  },
  blkio: {
    resources: { blockIO: { throttleReadIOPSDevice: [{ ...firstDisk(), rate: 100 }] } },
    file: "blkio.throttle.read_iops_device",
    shows: /^\d+:\d+ 100$/,
  },
};

describe("cgroup limits", () => {
  const any = needs({ root: true, cgroup: ["v1", "v2"], controllers: ["memory", "pids"], files: ["/bin/busybox"] });
  const v1 = needs({ root: true, cgroup: "v1", controllers: ["memory", "cpu", "cpuset", "blkio"] });
  const v2 = needs({ root: true, cgroup: "v2", controllers: ["memory", "cpu", "cpuset", "io"] });

  any("privileged rules leave every device open", () => {
    const record = make({ resources: { devices: [{ allow: true, access: "rwm" }] } });
    expect(runIn(record, "cd /tmp; mknod kmsg c 1 11; : < kmsg && echo reads; rm -f kmsg").stdout).toBe("reads\n");
  });

  v1("v1 shows the limits that were asked", () => {
    const resources = {
      memory: { limit: 2 ** 25, reservation: 2 ** 24, swappiness: 10, useHierarchy: true },
      cpu: { shares: 512, quota: 50000, period: 200000, cpus: "0", mems: "0" },
    };
    const record = make({ resources });
    expect(read(record, "memory", "memory.limit_in_bytes")).toBe(String(2 ** 25));
    expect(read(record, "memory", "memory.soft_limit_in_bytes")).toBe(String(2 ** 24));
    expect(read(record, "memory", "memory.swappiness")).toBe("10");
    expect(read(record, "cpu", "cpu.shares")).toBe("512");
    expect(read(record, "cpu", "cpu.cfs_quota_us")).toBe("50000");
    expect(read(record, "cpu", "cpu.cfs_period_us")).toBe("200000");
    expect(read(record, "cpuset", "cpuset.cpus")).toBe("0");
    expect(read(record, "cpuset", "cpuset.mems")).toBe("0");
  });

  for (const [controller, { resources, file, shows }] of Object.entries(LESSER)) {
    needs({ root: true, cgroup: "v1", controllers: [controller] })(`v1 shows what was asked of ${controller}`, () => {
      expect(read(make({ resources }), controller, file)).toMatch(shows);
    });
  }

  v2("v2 shows the limits that were asked, through every cgroup of the path", () => {
    const resources = {
      memory: { limit: 2 ** 25, swap: 2 ** 26, reservation: 2 ** 24 },
      cpu: { shares: 1024, quota: 50000, period: 200000, burst: 1000, cpus: "0", mems: "0" },
      unified: { "memory.high": String(2 ** 24) },
    };
    const record = make({ resources, cgroupsPath: `/${make().paths[""]?.split("/").pop()}-p/q/r` });
    const shown = [
      "memory.max",
      "memory.swap.max",
      "memory.low",
      "memory.high",
      "cpu.weight",
      "cpu.max",
      "cpu.max.burst",
    ];
    expect(shown.map((file) => read(record, "", file))).toEqual([
      String(2 ** 25),
      String(2 ** 25),
      String(2 ** 24),
      String(2 ** 24),
      "100",
      "50000 200000",
      "1000",
    ]);
    expect(read(record, "", "cpuset.cpus")).toBe("0");
    expect(read(record, "", "cgroup.controllers").split(" ")).toEqual(
      expect.arrayContaining(["cpu", "io", "memory", "pids"]),
    );
  });

  any("limits are changed on a cgroup that has others, whichever bounds which", () => {
    const mega = (n: number) => n * 2 ** 20;
    const cgroupsPath = `/${make().made[0]?.split("/").pop()}-kept`;
    make({
      cgroupsPath,
      resources: { memory: { limit: mega(20), swap: mega(20) }, cpu: { quota: 10000, period: 20000 } },
    });
    for (const size of [40, 10, 80]) {
      const memory = { limit: mega(size), swap: mega(size) };
      const record = make({ cgroupsPath, resources: { memory, cpu: { quota: size * 1000, period: 100000 } } });
      const file = record.layout === "v2" ? "memory.max" : "memory.limit_in_bytes";
      expect(read(record, "memory", file)).toBe(String(mega(size)));
    }
  });

  any("what the kernel refuses names the controller, the value and the file, and leaves no cgroup", () => {
    const cpu = { cpus: "0-100000" };
    expect(() => make({ resources: { cpu } })).toThrow(/cannot set cpuset limit: write "0-100000" to .*cpuset\.cpus/);
    expect(() => make({ resources: { hugepageLimits: [{ pageSize: "3KB", limit: 1 }] } })).toThrow(
      /cannot set hugetlb limit: (missing cgroup file|controller hugetlb is not available)/,
    );
  });

  v2("a controller that is not there is named, with the reason", () => {
    expect(() => make({ resources: { unified: { "nothing.max": "1" } } })).toThrow(
      "controller nothing is not available",
    );
  });
});
