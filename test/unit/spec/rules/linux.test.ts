import { describe, expect, test } from "vitest";
import { problemsOf, warningsOf } from "../helpers.ts";

const linux = (value: object, ...namespaces: string[]) =>
  problemsOf((spec) => {
    Object.assign(spec.linux, value);
    for (const type of namespaces) spec.linux.namespaces.push({ type });
  });

describe("spec/rules/linux", () => {
  test("masked and read-only paths are absolute", () => {
    expect(linux({ maskedPaths: ["proc/kcore"], readonlyPaths: [""] })).toEqual([
      'linux.maskedPaths[0]: must be absolute, not "proc/kcore"',
      'linux.readonlyPaths[0]: must be absolute, not ""',
    ]);
  });

  test("propagation of the root", () => {
    for (const word of [
      "shared",
      "rshared",
      "slave",
      "rslave",
      "private",
      "rprivate",
      "unbindable",
      "runbindable",
      "",
    ]) {
      expect(linux({ rootfsPropagation: word }), word).toEqual([]);
    }
    expect(linux({ rootfsPropagation: "rshard" })).toEqual([
      'linux.rootfsPropagation: unknown value "rshard", did you mean "rshared"?',
    ]);
  });

  test("network devices", () => {
    expect(linux({ netDevices: { eth0: { name: "c_eth0" }, ens4: {} } })).toEqual([]);
    expect(linux({ netDevices: { eth0: { name: "net%d" }, eth1: { name: "%d%d" }, eth2: { name: "a%" } } })).toEqual([
      'linux.netDevices.eth1.name: "%d%d" is no name of a network interface',
      'linux.netDevices.eth2.name: "a%" is no name of a network interface',
    ]);
    expect(linux({ netDevices: { eth0: { name: 23 } } })).toHaveLength(1);
    expect(linux({ netDevices: { "a/b": { name: "x".repeat(16) } } })).toHaveLength(2);
  });

  test("Intel RDT", () => {
    expect(linux({ intelRdt: { closID: "..", memBwSchema: "L3:0", schemata: ["L3:0=f", "a\nb"] } })).toEqual([
      'linux.intelRdt.closID: ".." is no name of a directory',
      'linux.intelRdt.memBwSchema: must be one line that begins with "MB:", not "L3:0"',
      "linux.intelRdt.schemata[1]: must be one line",
    ]);
    expect(linux({ intelRdt: { closID: "/a" } })).toHaveLength(1);
    for (const closID of ["a", "/", ""]) {
      expect(linux({ intelRdt: { closID, memBwSchema: "MB:0=20", l3CacheSchema: "L3CODE:0=f\nL3DATA:0=f" } })).toEqual(
        [],
      );
    }
  });

  test("memory policy", () => {
    expect(linux({ memoryPolicy: { mode: "MPOL_BIND", nodes: "0-1" } })).toEqual([]);
    expect(linux({ memoryPolicy: { mode: "MPOL_BIND" } })).toHaveLength(1);
    expect(linux({ memoryPolicy: { mode: "MPOL_DEFAULT", nodes: "0" } })).toHaveLength(1);
    expect(linux({ memoryPolicy: { nodes: "0" } })).toEqual(["linux.memoryPolicy.mode: is missing"]);
    expect(
      linux({
        memoryPolicy: { mode: "MPOL_BIND", nodes: "x", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] },
      }),
    ).toHaveLength(2);
    for (const nodes of ["3-1", "0-", "-1", "1-2-3", "0 1", "8192", "0-99999"]) {
      expect(linux({ memoryPolicy: { mode: "MPOL_BIND", nodes } }), nodes).toEqual([
        `linux.memoryPolicy.nodes: "${nodes}" is no list of nodes: "0-3,7" would be one`,
      ]);
    }
  });

  test("personality", () => {
    expect(linux({ personality: { domain: "LINUX64" } })).toHaveLength(1);
    expect(warningsOf((spec) => (spec.linux.personality = { domain: "LINUX", flags: ["x"] }))).toHaveLength(1);
  });

  test("hooks", () => {
    expect(problemsOf((spec) => (spec.hooks = { prestart: [{ path: "x", timeout: 0 }, {}] }))).toEqual([
      "hooks.prestart[1].path: is missing",
      'hooks.prestart[0].path: must be absolute, not "x"',
      "hooks.prestart[0].timeout: 0 is out of range: seconds, 1 or more",
    ]);
    expect(problemsOf((spec) => (spec.hooks = { later: "?" }))).toEqual([]);
  });
});
