import { describe, expect, test } from "vitest";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import { networkProblems, withNetwork } from "../../../src/spec/network.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { HOST, problemsOf } from "./helpers.ts";

const USER = { ...HOST, euid: 1000, egid: 1000, privileged: false };
const ROOTLESS = defaultSpec({ rootless: { uid: 1000, gid: 1000 } });

function spec(linux: Spec["linux"]): Spec {
  return { ...ROOTLESS, linux: { ...ROOTLESS.linux, ...linux } };
}

describe("spec/network", () => {
  test("it needs an ordinary user, an own user namespace, and a network namespace that is not another's", () => {
    expect(networkProblems("pasta", ROOTLESS, USER)).toEqual([]);
    expect(networkProblems("pasta", ROOTLESS, HOST)[0]?.message).toContain("not root");
    const joined = spec({ namespaces: [{ type: "user" }, { type: "network", path: "/n" }] });
    expect(networkProblems("pasta", joined, USER)[0]?.message).toContain("/n");
    for (const namespaces of [[], [{ type: "user" as const, path: "/u" }]]) {
      expect(networkProblems("slirp4netns", spec({ namespaces }), USER)[0]?.message).toContain('{"type": "user"}');
    }
  });

  test("a network namespace is added where there is none", () => {
    const types = (made: Spec) => made.linux?.namespaces?.filter(({ type }) => type === "network").length;
    expect(types(withNetwork(ROOTLESS))).toBe(1);
    expect(types(withNetwork(withNetwork(ROOTLESS)))).toBe(1);
    expect(types(ROOTLESS)).toBe(0);
  });

  test("all groups that are mapped without a gap may ping, unless config.json says who", () => {
    const range = (linux: Spec["linux"]) => withNetwork(spec(linux)).linux?.sysctl;
    const key = "net.ipv4.ping_group_range";
    expect(range({})).toEqual({ [key]: "0 0" });
    const gidMappings = [
      { containerID: 70000, hostID: 5, size: 9 },
      { containerID: 1, hostID: 100000, size: 65536 },
      { containerID: 0, hostID: 1000, size: 1 },
    ];
    expect(range({ gidMappings })).toEqual({ [key]: "0 65536" });
    expect(range({ sysctl: { "net/ipv4/ping_group_range": "1 0" } })).toEqual({ "net/ipv4/ping_group_range": "1 0" });
    expect(range({ gidMappings: [{ containerID: 5, hostID: 1000, size: 1 }] })).toBeUndefined();
    expect(range({ gidMappings: [{ containerID: 0, hostID: 0, size: 2 ** 32 - 1 }] })).toEqual({
      [key]: "0 2147483647",
    });
  });

  test("an annotation names one of two programs", () => {
    expect(
      problemsOf((config) => {
        config.annotations = { "org.tsrun.network": "bridge" };
      }),
    ).toEqual(['annotations["org.tsrun.network"]: "bridge" is no network: pasta, slirp4netns']);
  });
});
