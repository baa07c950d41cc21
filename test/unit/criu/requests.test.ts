import { describe, expect, test } from "vitest";
import { CGROUP_MODES, TYPE } from "../../../src/criu/messages.ts";
import { type DumpFlags, dumpRequest, type RestoreFlags, restoreRequest } from "../../../src/criu/requests.ts";

const PLACES = { imagesDirFd: 10, workDirFd: 11 };
const dumped = (flags: DumpFlags) => dumpRequest(flags, { ...PLACES, pid: 42, external: [] });
const restored = (flags: RestoreFlags) =>
  restoreRequest(flags, {
    ...PLACES,
    root: "/run/tsrun/c/root",
    external: [],
    inheritFds: [],
    joinNamespaces: [],
    cgroupRoots: [],
  });

describe("criu/requests", () => {
  test("what a container needs is asked for without a flag", () => {
    const { type, options } = dumped({});
    expect(type).toBe(TYPE.DUMP);
    expect(options).toMatchObject({
      pid: 42,
      imagesDirFd: 10,
      workDirFd: 11,
      logFile: "dump.log",
      notifyScripts: true,
      orphanPtsMaster: true,
      manageCgroups: true,
      manageCgroupsMode: CGROUP_MODES.soft,
    });
    expect(options?.leaveRunning).toBeUndefined();
    expect(options?.trackMemory).toBeUndefined();
  });

  test("every flag of a dump arrives", () => {
    const flags: DumpFlags = {
      leaveRunning: true,
      tcpEstablished: true,
      tcpSkipInFlight: true,
      extUnixSk: true,
      shellJob: true,
      fileLocks: true,
      linkRemap: true,
      lazyPages: true,
      autoDedup: true,
      statusFd: 7,
      pageServer: { address: "::1", port: 27 },
      manageCgroupsMode: "strict",
      networkLock: "nftables",
      emptyNs: ["network"],
    };
    const { manageCgroupsMode: _, emptyNs: __, networkLock: ___, ...same } = flags;
    expect(dumped(flags).options).toMatchObject({
      ...same,
      manageCgroupsMode: CGROUP_MODES.strict,
      networkLock: 2,
      emptyNamespaces: 0x40000000,
    });
  });

  test("a pre-dump leaves the container running, and both it and what follows count pages", () => {
    const first = dumped({ preDump: true });
    expect(first.type).toBe(TYPE.PRE_DUMP);
    expect(first.options).toMatchObject({ leaveRunning: true, trackMemory: true });
    expect(dumped({ parentPath: "../before" }).options).toMatchObject({
      parentImage: "../before",
      trackMemory: true,
    });
  });

  test("every flag of a restore arrives", () => {
    const flags: RestoreFlags = {
      tcpEstablished: true,
      tcpClose: true,
      extUnixSk: true,
      shellJob: true,
      fileLocks: true,
      lazyPages: true,
      autoDedup: true,
      lsmProfile: "apparmor:other",
      lsmMountContext: "system_u:object_r:container_file_t:s0",
    };
    const { type, options } = restored({ ...flags, manageCgroupsMode: "ignore" });
    expect(type).toBe(TYPE.RESTORE);
    expect(options).toMatchObject({
      ...flags,
      manageCgroupsMode: CGROUP_MODES.ignore,
      restoreSibling: true,
      logFile: "restore.log",
      root: "/run/tsrun/c/root",
    });
  });
});
