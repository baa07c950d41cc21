import { describe, expect, test } from "vitest";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import type { Process, Spec } from "../../../src/spec/types.ts";
import { unsupported, unsupportedProcess } from "../../../src/spec/unsupported.ts";

const paths = (spec: Partial<Spec>) => unsupported({ ociVersion: "1.3.0", ...spec }).map(({ path }) => path);

describe("spec/unsupported", () => {
  test("the default config asks for nothing of a later release", () => {
    expect(unsupported(defaultSpec())).toEqual([]);
    expect(unsupported(defaultSpec({ rootless: { uid: 1, gid: 1 } }))).toEqual([]);
  });

  test("fields of the process and of linux are named", () => {
    const process: Process = {
      cwd: "/",
      user: { uid: 0, gid: 0 },
      apparmorProfile: "p",
      selinuxLabel: "l",
      scheduler: { policy: "SCHED_RR" },
      ioPriority: { class: "IOPRIO_CLASS_BE" },
      execCPUAffinity: { initial: "0" },
    };
    expect(paths({ process })).toEqual([
      "process.apparmorProfile",
      "process.selinuxLabel",
      "process.scheduler",
      "process.ioPriority",
      "process.execCPUAffinity",
    ]);
    expect(unsupportedProcess(process)).toHaveLength(5);
    expect(
      paths({
        linux: {
          mountLabel: "l",
          intelRdt: { closID: "x" },
          memoryPolicy: { mode: "MPOL_BIND" },
          netDevices: { eth0: {} },
          personality: { domain: "LINUX32" },
          timeOffsets: { monotonic: { secs: 1 } },
        },
      }),
    ).toEqual([
      "linux.mountLabel",
      "linux.intelRdt",
      "linux.memoryPolicy",
      "linux.netDevices",
      "linux.personality",
      "linux.timeOffsets",
    ]);
  });

  test("seccomp is refused only where it notifies", () => {
    expect(paths({ linux: { seccomp: { defaultAction: "SCMP_ACT_LOG", listenerPath: "" } } })).toEqual([]);
    expect(
      paths({
        linux: {
          seccomp: {
            defaultAction: "SCMP_ACT_ALLOW",
            listenerPath: "/s",
            syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
          },
        },
      }),
    ).toEqual(["linux.seccomp.listenerPath", "linux.seccomp.syscalls[0].action"]);
  });

  test("a mount is named with the word it asks for", () => {
    expect(
      unsupported({
        ociVersion: "1.3.0",
        mounts: [
          { destination: "/a", options: ["rw", "tmpcopyup"] },
          { destination: "/b", uidMappings: [{ containerID: 0, hostID: 0, size: 1 }] },
        ],
      }),
    ).toEqual([
      { path: "mounts[0].options[1]", message: '"tmpcopyup" is not supported in this release' },
      { path: "mounts[1].uidMappings", message: "is not supported in this release" },
    ]);
  });

  test("empty values ask for nothing", () => {
    const empty = {
      ociVersion: "1.3.0",
      hooks: { prestart: [] },
      process: { cwd: "/", user: { uid: 0, gid: 0 }, apparmorProfile: "", selinuxLabel: "", execCPUAffinity: {} },
      mounts: [{ destination: "/a", uidMappings: [], gidMappings: [] }],
      linux: { mountLabel: "", intelRdt: {}, netDevices: {}, timeOffsets: {}, resources: { rdma: {} } },
    };
    expect(unsupported(empty)).toEqual([]);
  });
});
