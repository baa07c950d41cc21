/** linux.netDevices: devices of the host's network namespace, which is one of the test's own here. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, expectNothingLeft, inventory, type Leftovers, newId, RUNTIME } from "../helpers/runtime.ts";

// runc has had this since 1.4.
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** v0 has addresses of all kinds, v1 is its other end. */
const SETUP = `ip link add v0 type veth peer name v1
ip addr add 10.9.8.7/24 broadcast 10.9.8.255 label v0:a dev v0
ip addr add 10.9.8.9/24 valid_lft 1000 preferred_lft 1000 dev v0
ip addr add 169.254.1.1/16 scope link dev v0
ip addr add fd00:9::7/64 nodad dev v0
ip link set v1 up`;

interface Seen {
  code: number;
  /** Of the container. */
  stdout: string;
  stderr: string;
  /** `ip addr` in the host's namespace afterwards, one line an address or device. */
  host: string;
}

function runWith(edit: (spec: FullSpec) => void, args: string[], setup = SETUP): Seen {
  const bundle = makeBundle({ args, edit });
  const script = `${setup}\n"$@" && code=0 || code=$?\necho "== $code"; ip -o link; ip -o addr`;
  const command = ["-n", "sh", "-ec", script, "sh", RUNTIME, "run", "-b", bundle.path, newId()];
  const { stdout, stderr } = spawnSync("unshare", command, { encoding: "utf8" });
  const [seen = "", host = ""] = stdout.split(/^== /m);
  return { code: Number.parseInt(host, 10), stdout: seen, stderr, host };
}

/** Address and label of each line of `ip -o -f inet addr`, and the flags of its link. */
const SHOW = ["sh", "-c", "ip -o link; ip -o addr; sysctl -n net.ipv4.conf.$0.forwarding"];

describe("linux.netDevices", () => {
  root("a device comes with its permanent global addresses, under its new name, and is up", () => {
    const result = runWith(
      (spec) => {
        spec.linux.netDevices = { v0: { name: "eth0" } };
        spec.linux.sysctl = { "net.ipv4.conf.eth0.forwarding": "1" };
      },
      [...SHOW, "eth0"],
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/eth0[@:].*<[^>]*\bUP\b/);
    expect(result.stdout).toMatch(/inet 10\.9\.8\.7\/24 brd 10\.9\.8\.255 scope global eth0:a/);
    expect(result.stdout).toContain("inet6 fd00:9::7/64 scope global");
    expect(result.stdout).not.toContain("10.9.8.9");
    expect(result.stdout).not.toContain("169.254.1.1");
    // A sysctl of the device finds it.
    expect(result.stdout).toMatch(/\n1\n$/);
  });

  root("without a name it keeps its own, also in a user namespace", () => {
    const result = runWith(
      (spec) => {
        spec.linux.netDevices = { v0: {}, v1: { name: "" } };
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      },
      [...SHOW, "v0"],
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toContain("inet 10.9.8.7/24");
    expect(result.stdout).toMatch(/ v1[@:].*<[^>]*\bUP\b/);
  });

  root("a device may be named by an alternative name, and null is a device without a name of its own", () => {
    const long = "the-one-that-is-called-v1";
    const setup = `${SETUP}\nip link property add dev v0 altname short0\nip link property add dev v1 altname ${long}`;
    const result = runWith(
      (spec) => {
        Object.assign(spec.linux, { netDevices: { short0: null, [long]: { name: "e1" } } });
      },
      [...SHOW, "v0"],
      setup,
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/ v0@.*<[^>]*\bUP\b/);
    expect(result.stdout).toContain("inet 10.9.8.7/24");
    expect(result.stdout).toMatch(/ e1@/);
    const refused = runWith(
      (spec) => {
        spec.linux.netDevices = { v0: { name: "short0" } };
      },
      ["true"],
      setup,
    );
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/move network device v0: EEXIST[\s\S]*one of its alternative names/);
  });

  root("%d in a name becomes the first number that is free", () => {
    const result = runWith(
      (spec) => {
        spec.linux.netDevices = { v0: { name: "net%d" }, v1: { name: "net%d" } };
      },
      [...SHOW, "net0"],
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/ net0@/);
    expect(result.stdout).toMatch(/ net1@/);
  });

  root("what is not there, what cannot move and a name that is taken are said with the device", () => {
    const failure = (devices: Record<string, { name?: string }>) => {
      const { code, stderr } = runWith(
        (spec) => {
          spec.linux.netDevices = devices;
        },
        ["true"],
      );
      expect(code).toBe(1);
      return stderr;
    };
    expect(failure({ nosuch: {} })).toMatch(/linux\.netDevices nosuch: look for network device nosuch: ENODEV/);
    expect(failure({ lo: { name: "l1" } })).toMatch(
      /linux\.netDevices lo: move network device lo: EINVAL[\s\S]*belong to/,
    );
    expect(failure({ v0: { name: "lo" } })).toContain("the container has a network device lo already");
  });

  root("devices are back as they were when the container could not be made", () => {
    const moved = (spec: FullSpec) => {
      spec.linux.netDevices = { v1: { name: "a" }, v0: { name: "b" } };
    };
    for (const [what, result] of [
      [
        "a device",
        runWith(
          (spec) => {
            spec.linux.netDevices = { v1: { name: "a" }, v0: { name: "b" }, nosuch: {} };
          },
          ["true"],
        ),
      ],
      ["the command", runWith(moved, ["/nosuch"])],
    ] as const) {
      expect(result.code, what).toBe(1);
      expect(result.host, what).toMatch(/ v1@v0:.*<[^>]*\bUP\b/);
      expect(result.host, what).toMatch(/ v0@v1: <BROADCAST,MULTICAST[^>]*> .*DOWN/);
      expect(result.host, what).toMatch(/inet 10\.9\.8\.7\/24 brd 10\.9\.8\.255 scope global v0:a/);
      expect(result.host, what).toContain("inet6 fd00:9::7/64");
    }
  });

  root("a network namespace that is joined gets them too", () => {
    const setup = `${SETUP}\ntouch /run/net-devices; unshare --net=/run/net-devices true; trap "umount /run/net-devices; rm /run/net-devices" EXIT`;
    const result = runWith(
      (spec) => {
        spec.linux.netDevices = { v0: { name: "eth0" } };
        const network = spec.linux.namespaces?.find(({ type }) => type === "network");
        if (network !== undefined) network.path = "/run/net-devices";
      },
      [...SHOW, "eth0"],
      setup,
    );
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toContain("inet 10.9.8.7/24");
  });
});
