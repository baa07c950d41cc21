import { describe, expect, test } from "vitest";
import { problemsOf } from "../helpers.ts";

const MAP = { containerID: 0, hostID: 100000, size: 65536 };
// biome-ignore lint/suspicious/noExplicitAny: a config that is wrong has no type
const withUser = (change: (linux: any) => void) =>
  problemsOf((spec) => {
    spec.linux.namespaces.push({ type: "user" });
    Object.assign(spec.linux, { uidMappings: [MAP], gidMappings: [MAP] });
    change(spec.linux);
  });

describe("spec/rules/namespaces", () => {
  test("an unknown type is refused with the one that was meant", () => {
    expect(problemsOf((spec) => (spec.linux.namespaces[1].type = "net"))).toEqual([
      'linux.namespaces[1].type: unknown value "net", known are "mount", "cgroup", "uts", "ipc", "user", "pid", "network", "time"',
    ]);
    expect(problemsOf((spec) => (spec.linux.namespaces[1].type = "newtork"))).toEqual([
      'linux.namespaces[1].type: unknown value "newtork", did you mean "network"?',
    ]);
  });

  test("none is there twice", () => {
    expect(problemsOf((spec) => spec.linux.namespaces.push({ type: "pid" }))).toEqual([
      'linux.namespaces[5].type: "pid" is there twice, first as linux.namespaces[0]',
    ]);
  });

  test("a path is absolute; an empty one is a new namespace", () => {
    expect(problemsOf((spec) => (spec.linux.namespaces[1].path = "ns/net"))).toEqual([
      'linux.namespaces[1].path: must be absolute, not "ns/net"',
    ]);
    expect(problemsOf((spec) => (spec.linux.namespaces[1].path = ""))).toEqual([]);
  });

  test("a host name needs a uts namespace, new or joined", () => {
    const without = (names: object) =>
      problemsOf((spec) => {
        spec.linux.namespaces.splice(3, 1);
        delete spec.hostname;
        Object.assign(spec, names);
      });
    expect(without({ hostname: "a" })).toEqual([
      'hostname: cannot be set without a uts namespace: add {"type": "uts"} to linux.namespaces',
    ]);
    expect(without({ domainname: "a" })).toHaveLength(1);
    expect(without({ hostname: "", domainname: "" })).toEqual([]);
    expect(problemsOf((spec) => (spec.linux.namespaces[3].path = "/proc/1/ns/uts"))).toEqual([]);
    expect(problemsOf((spec) => (spec.hostname = "é".repeat(33)))).toHaveLength(1);
    expect(problemsOf((spec) => (spec.hostname = "x".repeat(64)))).toEqual([]);
  });

  test("a new user namespace needs mappings", () => {
    expect(withUser(() => {})).toEqual([]);
    expect(withUser((linux) => delete linux.uidMappings)).toEqual([
      "linux.uidMappings: is needed for a new user namespace; without it no id means anything there",
    ]);
    expect(withUser((linux) => (linux.gidMappings = []))).toHaveLength(1);
  });

  test("a joined one needs none, and a copy of its mappings does no harm", () => {
    const join = { type: "user", path: "/proc/1/ns/user" };
    expect(problemsOf((spec) => spec.linux.namespaces.push(join))).toEqual([]);
    expect(withUser((linux) => (linux.namespaces[5] = join))).toEqual([]);
  });

  test("mappings are for a user namespace", () => {
    expect(problemsOf((spec) => (spec.linux.uidMappings = [MAP]))).toEqual([
      'linux.uidMappings: is for a user namespace: add {"type": "user"} to linux.namespaces',
    ]);
    expect(problemsOf((spec) => (spec.linux.uidMappings = []))).toEqual([]);
  });

  test("mappings do not overlap, are not empty, and end where the ids do", () => {
    expect(withUser((linux) => (linux.uidMappings = [MAP, { containerID: 65535, hostID: 0, size: 1 }]))).toEqual([
      "linux.uidMappings[1].containerID: overlaps linux.uidMappings[0]",
    ]);
    expect(withUser((linux) => (linux.uidMappings = [MAP, { containerID: 65536, hostID: 100000, size: 1 }]))).toEqual([
      "linux.uidMappings[1].hostID: overlaps linux.uidMappings[0]",
    ]);
    expect(withUser((linux) => (linux.uidMappings = [MAP, { containerID: 65536, hostID: 0, size: 0 }]))).toHaveLength(
      1,
    );
    expect(withUser((linux) => (linux.uidMappings = [{ containerID: 0, hostID: 4294967290, size: 10 }]))).toHaveLength(
      1,
    );
    expect(withUser((linux) => (linux.uidMappings = [{ containerID: 0, hostID: 0, size: 4294967295 }]))).toEqual([]);
    const many = Array.from({ length: 341 }, (_, i) => ({ containerID: i, hostID: i, size: 1 }));
    expect(withUser((linux) => (linux.uidMappings = many))).toHaveLength(1);
    expect(withUser((linux) => (linux.uidMappings = many.slice(1).map((m, i) => ({ ...m, containerID: i }))))).toEqual(
      [],
    );
  });

  test("a mapping that lacks a number is reported once", () => {
    expect(withUser((linux) => (linux.uidMappings = [{ containerID: 0, size: 1 }]))).toEqual([
      "linux.uidMappings[0].hostID: is missing",
    ]);
  });

  test("the ids of the process are mapped", () => {
    const problems = problemsOf((spec) => {
      spec.linux.namespaces.push({ type: "user" });
      Object.assign(spec.linux, { uidMappings: [MAP], gidMappings: [MAP] });
      spec.process.user = { uid: 70000, gid: 5, additionalGids: [6, 65536] };
    });
    expect(problems).toEqual([
      "process.user.uid: user 70000 is not in linux.uidMappings",
      "process.user.additionalGids[1]: group 65536 is not in linux.gidMappings",
    ]);
  });

  test("time offsets need a time namespace and one of its clocks", () => {
    const offsets = (timeOffsets: unknown, ...namespaces: unknown[]) =>
      problemsOf((spec) => {
        spec.linux.timeOffsets = timeOffsets;
        spec.linux.namespaces.push(...namespaces);
      });
    expect(offsets({ boottime: { secs: 1 } })).toHaveLength(1);
    expect(offsets({ boottime: { secs: -1, nanosecs: 5 } }, { type: "time" })).toEqual([]);
    expect(offsets({ boottim: { secs: 1 } }, { type: "time" }).join()).toContain('did you mean "boottime"?');
    expect(offsets({ boottime: { secs: 1 } }, { type: "time", path: "/proc/1/ns/time" }).join()).toContain("is joined");
    expect(offsets({}, { type: "time", path: "/proc/1/ns/time" })).toEqual([]);
    expect(offsets({ boottime: { nanosecs: 1e9 } }, { type: "time" })).toHaveLength(1);
  });

  test("a misshapen list of namespaces makes no other rule complain", () => {
    expect(problemsOf((spec) => (spec.linux.namespaces = "pid"))).toEqual([
      'linux.namespaces: must be a list, not the string "pid"',
    ]);
    expect(problemsOf((spec) => (spec.linux = 5))).toEqual(["linux: must be an object, not the number 5"]);
  });
});
