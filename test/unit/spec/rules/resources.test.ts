import { describe, expect, test } from "vitest";
import { inspectResources } from "../../../../src/spec/validate.ts";
import { problemsOf } from "../helpers.ts";

const resources = (value: unknown) =>
  inspectResources(value).problems.map(({ path, message }) => `${path}: ${message}`);

describe("spec/rules/resources", () => {
  test("what engines send is fine, zeros for 'not set' included", () => {
    expect(
      resources({
        memory: { limit: 0, reservation: 0, kernel: 0, swap: 0, swappiness: JSON.parse("18446744073709551615") },
        cpu: { shares: 256, quota: 0, period: 0, cpus: "", mems: "0-3,7" },
        blockIO: { weight: 0 },
        pids: {},
        devices: [
          { allow: false, access: "rwm" },
          { allow: true, type: "c", major: 1, minor: -1, access: "mr" },
          { allow: true, type: "a", major: -1, minor: -1, access: "rwm" },
          { allow: true, type: "", access: "" },
        ],
        unified: { "memory.high": "1" },
      }),
    ).toEqual([]);
  });

  test("what is kept of a file for update is what the spec has", () => {
    const value = {
      Memory: { limit: 64, note: "x" },
      cpu: null,
      hugepageLimits: [{ pageSize: "2MB", limit: 0, note: [] }],
      unified: { "memory.high": "1" },
      note: "x".repeat(100),
    };
    expect(inspectResources(value)).toEqual({
      problems: [],
      resources: {
        memory: { limit: 64 },
        hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
        unified: { "memory.high": "1" },
      },
    });
  });

  test("memory and swap are counted together", () => {
    expect(resources({ memory: { limit: 64, swap: 32 } })).toEqual([
      "resources.memory.swap: 32 is less than the limit of memory, 64: it counts memory and swap together",
    ]);
    expect(problemsOf((spec) => (spec.linux.resources.memory = { swap: 32 }))).toEqual([
      "linux.resources.memory.swap: is memory and swap together, and needs a limit of memory beside it",
    ]);
    // For update the limit may be the one that is set already.
    expect(resources({ memory: { swap: 32 } })).toEqual([]);
    expect(resources({ memory: { limit: -1, swap: 32 } })).toHaveLength(1);
    expect(resources({ memory: { limit: 64, swap: 64 } })).toEqual([]);
    expect(resources({ memory: { limit: 64, swap: -1 } })).toEqual([]);
    expect(resources({ memory: { swap: -1 } })).toEqual([]);
    expect(resources({ memory: { limit: -1, swap: -1 } })).toEqual([]);
  });

  test("numbers out of range", () => {
    expect(resources({ memory: { limit: -2 } })).toHaveLength(1);
    expect(resources({ memory: { swappiness: 101 } })).toHaveLength(1);
    expect(resources({ memory: { limit: 2 ** 65 } })).toHaveLength(1);
    expect(resources({ memory: { limit: JSON.parse("9223372036854775807") } })).toEqual([]);
    expect(resources({ cpu: { idle: 2 } })).toHaveLength(1);
    expect(resources({ cpu: { quota: -2 } })).toHaveLength(1);
    expect(resources({ cpu: { shares: -1 } })).toHaveLength(1);
    expect(resources({ cpu: { cpus: "0-3;rm" } })).toHaveLength(1);
    expect(resources({ pids: { limit: -2 } })).toHaveLength(1);
    expect(resources({ blockIO: { weight: 1001 } })).toHaveLength(1);
    expect(resources({ blockIO: { weightDevice: [{ major: 8, minor: 0, weight: 5 }] } })).toHaveLength(1);
    expect(resources({ blockIO: { throttleReadBpsDevice: [{ major: -8, minor: 0, rate: 5 }] } })).toHaveLength(1);
    expect(resources({ blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0 }] } })).toEqual([
      expect.stringContaining("throttleReadBpsDevice[0].rate: is missing"),
    ]);
    expect(resources({ network: { classID: 2 ** 32 } })).toHaveLength(1);
  });

  test("device rules", () => {
    expect(resources({ devices: [{ allow: true, type: "x" }] })).toHaveLength(1);
    expect(resources({ devices: [{ allow: true, access: "xyz" }] })).toEqual([
      'resources.devices[0].access: "xyz" has letters other than r (read), w (write) and m (mknod)',
    ]);
    expect(resources({ devices: [{ type: "c" }] })).toEqual(["resources.devices[0].allow: is missing"]);
  });

  test("huge pages", () => {
    for (const pageSize of ["64kB", "2M", "0MB", "2 MB", ""]) {
      expect(resources({ hugepageLimits: [{ pageSize, limit: 1 }] }), pageSize).toHaveLength(1);
    }
    const limit = { pageSize: "2MB", limit: 1 };
    expect(resources({ hugepageLimits: [limit] })).toEqual([]);
    expect(resources({ hugepageLimits: [limit, limit] })).toHaveLength(1);
  });

  test("unified names files of the cgroup, nothing else", () => {
    for (const file of ["", "memory", "../memory.max", "a/memory.max", "memory.max/..", "..", "memory.\n"]) {
      expect(resources({ unified: { [file]: "1" } }), file).toHaveLength(1);
    }
    expect(resources({ unified: { "hugetlb.2MB.max": "1", "cgroup.max.depth": "1" } })).toEqual([]);
    expect(resources({ unified: { "memory.high": "" } })).toHaveLength(1);
  });

  test("names of network interfaces", () => {
    const priority = (name: string) => resources({ network: { priorities: [{ name, priority: 1 }] } });
    expect(priority("eth0")).toEqual([]);
    for (const name of ["", "a b", "a/b", "a:b", "x".repeat(16), "..", "a\n"])
      expect(priority(name), name).toHaveLength(1);
  });

  test("rdma", () => {
    expect(resources({ rdma: { mlx5_1: { hcaHandles: "x" } } })).toEqual([
      'resources.rdma.mlx5_1.hcaHandles: must be a number, not the string "x"',
    ]);
  });

  test("cgroupsPath stays below the mount point", () => {
    const path = (cgroupsPath: string) => problemsOf((spec) => (spec.linux.cgroupsPath = cgroupsPath));
    for (const good of ["", "/a/b", "a", "/a..b", "system.slice:tsrun:id"]) expect(path(good), good).toEqual([]);
    for (const bad of ["..", "../a", "/a/../b", "/a/..", "/a\nb"]) expect(path(bad), bad).toHaveLength(1);
  });
});
