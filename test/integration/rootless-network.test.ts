/** Networks of ordinary users: pasta and slirp4netns, in a network namespace that leads nowhere. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { OrdinaryUser, type Output, UID } from "../helpers/ordinary-user.ts";
import { expectNothingLeft, inventory, type Leftovers, newId } from "../helpers/runtime.ts";

const wanted = { root: true, tsrun: true, files: ["/dev/net/tun"], commands: ["setpriv", "unshare", "ip", "busybox"] };
const slirp = needs({ ...wanted, commands: [...wanted.commands, "slirp4netns"] });
const pasta = needs({ ...wanted, commands: [...wanted.commands, "pasta"] });
const neither = needs({ root: true, tsrun: true, commands: ["setpriv", "unshare"] });

let before: Leftovers;
let user: OrdinaryUser;
beforeAll(() => {
  before = inventory();
  user = new OrdinaryUser();
});
afterAll(() => expectNothingLeft(before));

/** One interface with a route, whose other end nobody listens at, and a tun device that anybody may open. */
const NETWORK = `ip link set lo up
  ip link add v0 type veth peer name v1 && ip link set v1 up && ip addr add 10.9.8.7/24 dev v0 && ip link set v0 up
  ip route add default via 10.9.8.1
  [ -e $HOME/tun ] || mknod -m 666 $HOME/tun c 10 200
  mount --bind $HOME/tun /dev/net/tun`;

const asUser = (script: string): Output => user.run(script, NETWORK, ["--net"]);

function bundleOf(script: string, edit?: (spec: FullSpec) => void): string {
  const bundle = makeBundle({
    args: ["sh", "-c", script],
    rootless: true,
    edit: (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      edit?.(spec);
    },
  });
  user.give(bundle.path);
  return bundle.path;
}

/** Programs of networks that run in the namespaces of `asUser`, or have been left by it. */
function programs(): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const isOne = /^(slirp4netns|pasta(\.avx2)?)\0/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
      return isOne && new RegExp(`^Uid:\\t${UID}\\t`, "m").test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      return false;
    }
  });
}

const SHOW = "ip -o -4 addr show scope global; ip route; cat /proc/sys/net/ipv4/ping_group_range";

describe("slirp4netns", () => {
  slirp("the process has an interface and a route when it starts, and may ping as a group that is mapped", () => {
    const { stdout, stderr, status } = asUser(`$R run -b ${bundleOf(SHOW)} --network slirp4netns ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout).toContain("tap0    inet 10.0.2.100/24");
    expect(stdout).toContain("default via 10.0.2.2 dev tap0");
    expect(stdout).toMatch(/^0\s0$/m);
    expect(status).toBe(0);
    expect(programs()).toEqual([]);
  });

  slirp("what it asks for arrives, and the caller's own loopback is out of reach", () => {
    const get = (host: string) => `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} 8080 2>/dev/null`;
    const bundle = bundleOf(`${get("10.9.8.7")} | tail -n 1; ${get("10.0.2.2")} || echo refused`);
    const { stdout } = asUser(`
      mkdir -p ${user.home}/www && echo found > ${user.home}/www/index.html || exit 1
      busybox httpd -f -p 8080 -h ${user.home}/www > /dev/null 2>&1 & server=$!
      until busybox nc -w 1 127.0.0.1 8080 < /dev/null > /dev/null 2>&1; do sleep 0.05; done
      $R run -b ${bundle} --network slirp4netns ${newId()}
      kill $server`);
    expect(stdout).toMatch(/^found\n/);
    expect(stdout).toMatch(/refused\n$/);
  });

  slirp("layers have its name server in resolv.conf; an annotation asks for it too", () => {
    const bundle = bundleOf("cat /etc/resolv.conf", (spec) => {
      spec.annotations = { "org.tsrun.network": "slirp4netns" };
    });
    expect(asUser(`$R run -b ${bundle} --overlay ${newId()}`).stdout).toBe("nameserver 10.0.2.3\n");
  });

  slirp("detached it lasts as long as the container, and ends with delete", () => {
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R run -d -b ${bundleOf("exec sleep 3600")} --network slirp4netns ${id} < /dev/null > ${user.home}/out || exit 1
      $R exec ${id} ip -o link show tap0 | cut -d: -f2
      pid=$(grep -o '"network":{[^}]*' ${user.home}/run/tsrun/${id}/state.json | grep -o '"pid":[0-9]*' | cut -d: -f2)
      tr '\\0' ' ' < /proc/$pid/cmdline | cut -d' ' -f1
      $R delete -f ${id}
      [ -e /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status && echo left
      ls ${user.home}/run/tsrun`);
    expect(stderr).toBe("");
    expect(stdout).toBe(" tap0\nslirp4netns\n");
  });

  slirp("it ends with a container that could not be started", () => {
    const bundle = bundleOf("true", (spec) => {
      spec.process.args = ["/no/such/program"];
    });
    const { stderr, status } = asUser(`$R run -b ${bundle} --network slirp4netns ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain("no such file or directory");
    expect(programs()).toEqual([]);
  });
});

describe("pasta", () => {
  pasta("the process has the host's address on an interface of its own", () => {
    const { stdout, stderr, status } = asUser(`$R run -b ${bundleOf(SHOW)} --network pasta ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout).toContain("v0    inet 10.9.8.7/24");
    expect(stdout).toContain("default via 10.9.8.1 dev v0");
    expect(status).toBe(0);
    expect(programs()).toEqual([]);
  });

  pasta("where it cannot work, its own words are told and nothing is left", () => {
    const bundle = bundleOf("true");
    const { stderr, status } = user.run(`$R run -b ${bundle} --network pasta ${newId()}`, "", ["--net"]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/network by pasta: .*(routable|usable|tun)/i);
    expect(stderr).toContain("tsrun doctor");
    expect(readdirSync(join(user.home, "run/tsrun"))).toEqual([]);
    expect(programs()).toEqual([]);
  });
});

neither("a network that root or a joined namespace has already is refused", () => {
  const bundle = bundleOf("true", (spec) => {
    spec.linux.namespaces = [...(spec.linux.namespaces ?? []), { type: "network", path: "/proc/self/ns/net" }];
  });
  const { stderr, status } = user.run(`$R run -b ${bundle} --network pasta ${newId()}`);
  expect(status).toBe(1);
  expect(stderr).toContain("--network: the network namespace /proc/self/ns/net");
});
