import { describe, expect, test } from "vitest";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { unsupported } from "../../../src/spec/unsupported.ts";

const paths = (spec: Partial<Spec>) => unsupported({ ociVersion: "1.3.0", ...spec }).map(({ path }) => path);

describe("spec/unsupported", () => {
  test("the default config asks for nothing of a later release", () => {
    expect(unsupported(defaultSpec())).toEqual([]);
    expect(unsupported(defaultSpec({ rootless: { uid: 1, gid: 1 } }))).toEqual([]);
  });

  test("fields of linux are named", () => {
    expect(paths({ linux: { intelRdt: { closID: "x" } } })).toEqual(["linux.intelRdt"]);
  });

  test("empty values ask for nothing", () => {
    const empty = {
      ociVersion: "1.3.0",
      hooks: { prestart: [] },
      process: { cwd: "/", user: { uid: 0, gid: 0 }, apparmorProfile: "", selinuxLabel: "", execCPUAffinity: {} },
      mounts: [{ destination: "/a", uidMappings: [], gidMappings: [] }],
      linux: { mountLabel: "", intelRdt: {}, timeOffsets: {}, resources: { rdma: {} } },
    };
    expect(unsupported(empty)).toEqual([]);
  });
});
