import { describe, expect, test } from "vitest";
import { sysctlPath } from "../../../src/plan/sysctls.ts";
import { stepsOf } from "./helpers.ts";

describe("plan/sysctls", () => {
  test("dots and slashes are separators alike, told apart by the first of them", () => {
    expect(sysctlPath("net.ipv4.ip_forward")).toBe("net/ipv4/ip_forward");
    expect(sysctlPath("net/ipv4/conf/eth0.1/forwarding")).toBe("net/ipv4/conf/eth0.1/forwarding");
    expect(sysctlPath("net.ipv4.conf.eth0/1.forwarding")).toBe("net/ipv4/conf/eth0.1/forwarding");
  });

  test("they are written to a procfs of our own, by descriptor", () => {
    const lines = stepsOf(
      { spec: ({ linux }) => void Object.assign(linux, { sysctl: { "net.ipv4.ip_forward": "1" } }) },
      "linux.sysctl",
    );
    const proc = /as (\d+)$/.exec(lines[0] ?? "")?.[1];
    expect(lines[0]).toMatch(/^fsmount proc/);
    expect(lines[1]).toBe(`check that ${proc} has magic 0x9fa0`);
    expect(lines[2]).toMatch(new RegExp(`^openat2 sys/net/ipv4/ip_forward in ${proc} as \\d+$`));
    expect(lines[3]).toMatch(/^write 1 to \d+$/);
    expect(lines.at(-1)).toBe(`close ${proc}`);
  });

  test("without sysctls there is no step", () => {
    expect(stepsOf({}, "linux.sysctl")).toEqual([]);
  });
});
