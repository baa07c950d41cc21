import { describe, expect, test } from "vitest";
import { hugetlbWrites } from "../../../../src/cgroup/v1/hugetlb.ts";
import { netClsWrites, netPrioWrites } from "../../../../src/cgroup/v1/network.ts";
import { pidsWrites } from "../../../../src/cgroup/v1/pids.ts";
import { rdmaWrites } from "../../../../src/cgroup/v1/rdma.ts";

describe("cgroup/v1/pids", () => {
  test("-1 is no limit, 0 lets one process in, and nothing is nothing", () => {
    const value = (limit?: number) => pidsWrites(limit === undefined ? {} : { limit })[0]?.value;
    expect([-1, 0, 100, undefined].map(value)).toEqual(["max", "1", "100", undefined]);
  });
});

describe("cgroup/v1/hugetlb", () => {
  test("the reservation limit goes with the usage limit where the kernel has one", () => {
    expect(hugetlbWrites([{ pageSize: "2MB", limit: 4194304 }], "limit_in_bytes")).toEqual([
      { file: "hugetlb.2MB.limit_in_bytes", value: "4194304" },
      { file: "hugetlb.2MB.rsvd.limit_in_bytes", value: "4194304", optional: true },
    ]);
    expect(hugetlbWrites([{ pageSize: "1GB", limit: 0 }], "max").map((write) => write.file)).toEqual([
      "hugetlb.1GB.max",
      "hugetlb.1GB.rsvd.max",
    ]);
  });

  test("a page size cannot become a path", () => {
    for (const pageSize of ["../x", "2M", "", "2MB/../cgroup", "MB"]) {
      expect(() => hugetlbWrites([{ pageSize, limit: 1 }], "max")).toThrow(
        "linux.resources.hugepageLimits[0].pageSize",
      );
    }
  });
});

describe("cgroup/v1/network", () => {
  test("class and priorities", () => {
    expect(netClsWrites({ classID: 0x100001 })).toEqual([{ file: "net_cls.classid", value: "1048577" }]);
    expect(netClsWrites({ classID: 0 })).toEqual([]);
    const priorities = [
      { name: "eth0", priority: 500 },
      { name: "lo", priority: 0 },
    ];
    expect(netPrioWrites({ priorities }).map((write) => write.value)).toEqual(["eth0 500", "lo 0"]);
  });
});

describe("cgroup/v1/rdma", () => {
  test("a device's limits are one line with what was asked", () => {
    expect(rdmaWrites({ mlx5_1: { hcaHandles: 3, hcaObjects: 10000 }, rxe3: { hcaObjects: 0 }, none: {} })).toEqual([
      { file: "rdma.max", value: "mlx5_1 hca_handle=3 hca_object=10000" },
      { file: "rdma.max", value: "rxe3 hca_object=0" },
    ]);
  });
});
