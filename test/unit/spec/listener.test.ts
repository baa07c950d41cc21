import { describe, expect, test } from "vitest";
import { seccompListener } from "../../../src/spec/listener.ts";
import type { LinuxSeccomp, Spec } from "../../../src/spec/types.ts";

const RECEIVER = "run.oci.seccomp.receiver";
const listenerOf = (seccomp: Partial<LinuxSeccomp> | undefined, annotations?: Spec["annotations"]) =>
  seccompListener({
    ociVersion: "1.3.0",
    linux: seccomp ? { seccomp: { defaultAction: "SCMP_ACT_ALLOW", ...seccomp } } : {},
    ...(annotations && { annotations }),
  });
const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }];

describe("spec/listener", () => {
  test("listenerPath counts where a call is notified of, and is ignored elsewhere", () => {
    const about = "linux.seccomp.listenerPath";
    const named = { listenerPath: "/a.sock", listenerMetadata: "x" };
    expect(listenerOf({ ...named, syscalls })).toEqual({ path: "/a.sock", metadata: "x", about });
    expect(listenerOf({ ...named, listenerMetadata: "", syscalls })).toEqual({ path: "/a.sock", about });
    expect(listenerOf(named)).toBeUndefined();
    expect(listenerOf(undefined)).toBeUndefined();
  });

  test("crun's annotation is for who names no listenerPath", () => {
    const annotations = { [RECEIVER]: "/b.sock" };
    const about = `annotations["${RECEIVER}"]`;
    expect(listenerOf({ syscalls }, annotations)).toEqual({ path: "/b.sock", metadata: undefined, about });
    expect(listenerOf({ syscalls, listenerPath: "/a.sock" }, annotations)?.path).toBe("/a.sock");
    expect(listenerOf({}, annotations)).toBeUndefined();
    expect(listenerOf({ syscalls }, {})).toBeUndefined();
  });
});
