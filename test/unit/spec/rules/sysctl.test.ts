import { describe, expect, test } from "vitest";
import { problemsOf } from "../helpers.ts";

const sysctl = (values: Record<string, unknown>, without?: string) =>
  problemsOf((spec) => {
    spec.linux.sysctl = values;
    if (without === "uts") delete spec.hostname;
    spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== without);
  });

describe("spec/rules/sysctl", () => {
  test("what a namespace of the container keeps to itself may be set", () => {
    expect(
      sysctl({
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/eth0.1/rp_filter": "1",
        "net.ipv4.conf.eth0/1.rp_filter": "1",
        "kernel.sem": "250 32000 32 128",
        "kernel/msgmax": "1",
        "fs.mqueue.msg_max": "10",
        "kernel.domainname": "x",
      }),
    ).toEqual([]);
  });

  test("and only with that namespace", () => {
    expect(sysctl({ "net.ipv4.ip_forward": "1" }, "network")).toEqual([
      'linux.sysctl["net.ipv4.ip_forward"]: is the host\'s without a network namespace: add {"type": "network"} to linux.namespaces',
    ]);
    expect(sysctl({ "net/ipv4/ip_forward": "1" }, "network")).toHaveLength(1);
    expect(sysctl({ "kernel.shmmax": "1" }, "ipc")).toHaveLength(1);
    expect(sysctl({ "fs.mqueue.msg_max": "1" }, "ipc")).toHaveLength(1);
    expect(sysctl({ "kernel.domainname": "1" }, "uts")).toHaveLength(1);
    expect(sysctl({ "user.max_user_namespaces": "1" })).toHaveLength(1);
  });

  test("the host's own are refused", () => {
    for (const key of [
      "kernel.core_pattern",
      "vm.swappiness",
      "fs.file-max",
      "kernel/core_pattern",
      "kernel.modprobe",
    ]) {
      expect(sysctl({ [key]: "1" }), key).toHaveLength(1);
    }
    expect(sysctl({ "kernel.shmmx": "1" }).join()).toContain('did you mean "kernel.shmmax"?');
    expect(sysctl({ "kernel.hostname": "x" })).toEqual(['linux.sysctl["kernel.hostname"]: is set by hostname']);
  });

  test("a name cannot climb out of its directory", () => {
    for (const key of [
      "",
      "net",
      "net.",
      ".net.x",
      "/net/x",
      "net/../kernel/core_pattern",
      "net..x",
      "net.//.kernel.core_pattern",
      "net/./x",
      "net.ipv4./.x",
      "net.x.",
      "net/x/",
    ]) {
      expect(sysctl({ [key]: "1" }), key).toHaveLength(1);
    }
  });

  test("values are strings without NUL", () => {
    expect(sysctl({ "net.ipv4.ip_forward": 1 })).toEqual([
      'linux.sysctl["net.ipv4.ip_forward"]: must be a string, not the number 1',
    ]);
    expect(sysctl({ "net.ipv4.ip_forward": "1\0" })).toHaveLength(1);
  });
});
