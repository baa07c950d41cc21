/** Namespaces of a container: new ones, joined ones, and what is set up inside. */
import { spawnSync } from "node:child_process";
import { chownSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Bundle, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runBundle,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Type in config.json, file in /proc/<pid>/ns. */
const KINDS = [
  ["pid", "pid"],
  ["network", "net"],
  ["ipc", "ipc"],
  ["uts", "uts"],
  ["mount", "mnt"],
  ["cgroup", "cgroup"],
] as const;

type Kind = (typeof KINDS)[number][0] | "user" | "time";

/** Changes the list of namespaces: a path to join, "" for a new one, undefined for none. */
function withNamespaces(spec: FullSpec, changes: Partial<Record<Kind, string | undefined>>): void {
  const kept = (spec.linux.namespaces ?? []).filter(({ type }) => !(type in changes));
  const added = Object.entries(changes).flatMap(([type, path]) =>
    path === undefined ? [] : [{ type: type as Kind, ...(path === "" ? {} : { path }) }],
  );
  spec.linux.namespaces = [...kept, ...added];
}

function bundleWith(
  script: string,
  changes: Partial<Record<Kind, string | undefined>>,
  edit?: (spec: FullSpec) => void,
): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      withNamespaces(spec, changes);
      edit?.(spec);
    },
  });
}

function output(bundle: Bundle, flags: readonly string[] = []): string {
  const result = runBundle(bundle, flags);
  if (result.code !== 0) throw new Error(`exit code ${result.code}: ${result.stderr}`);
  return result.stdout;
}

const mapped = (spec: FullSpec) => {
  spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  spec.linux.gidMappings = [{ containerID: 0, hostID: 200000, size: 65536 }];
};

describe("new namespaces", () => {
  root("each kind that is asked for is new, and each other is the host's", () => {
    const links = KINDS.map(([, file]) => `readlink /proc/self/ns/${file}`).join("; ");
    const all = output(bundleWith(links, { cgroup: "" }))
      .trim()
      .split("\n");
    expect(all.filter((link, i) => link === readlinkSync(`/proc/self/ns/${KINDS[i]?.[1]}`))).toEqual([]);
    const few = output(bundleWith(links, { network: undefined, ipc: undefined, uts: undefined }, noHostSettings))
      .trim()
      .split("\n");
    const shared = KINDS.filter(([, file], i) => few[i] === readlinkSync(`/proc/self/ns/${file}`));
    expect(shared.map(([type]) => type)).toEqual(["network", "ipc", "uts", "cgroup"]);
  });

  root("the process is number 1 of its pid namespace", () => {
    expect(output(bundleWith("echo $$; ls -d /proc/[0-9]* | head -n 1", {}))).toBe("1\n/proc/1\n");
  });

  own("hostname and domainname are the container's alone", () => {
    const host = readFileSync("/proc/sys/kernel/hostname", "utf8");
    const bundle = bundleWith("hostname; cat /proc/sys/kernel/domainname", {}, (spec) => {
      spec.hostname = "inner-host";
      spec.domainname = "inner.example";
    });
    expect(output(bundle)).toBe("inner-host\ninner.example\n");
    expect(readFileSync("/proc/sys/kernel/hostname", "utf8")).toBe(host);
  });

  root("lo is up and has its address, and nobody else is there", () => {
    const text = output(
      bundleWith("ip link | grep -c '^[0-9]*: [a-z]* *.*state UP\\|LOOPBACK,UP'; ip addr show lo", {}),
    );
    expect(text).toMatch(/^1\n/);
    expect(text).toContain("inet 127.0.0.1/8");
  });

  root("a cgroup namespace shows the container's cgroup as the root", () => {
    const lines = output(bundleWith("cut -d: -f3 /proc/self/cgroup | sort -u", { cgroup: "" }))
      .trim()
      .split("\n");
    expect(lines).toContain("/");
    expect(lines.some((line) => line.includes("tsrun-test"))).toBe(false);
  });

  needs({ root: true, tsrun: true, kernel: [5, 6] })("a time namespace is new", () => {
    const link = output(bundleWith("readlink /proc/self/ns/time", { time: "" })).trim();
    expect(link).not.toBe(readlinkSync("/proc/self/ns/time"));
  });

  own("twice the same kind is refused", () => {
    const bundle = makeBundle();
    bundle.edit((spec) => spec.linux.namespaces?.push({ type: "pid" }));
    expect(runBundle(bundle).stderr).toContain('"pid" is there twice');
  });
});

/** Without namespaces of its own a container may not set these. */
function noHostSettings(spec: FullSpec): void {
  delete spec.hostname;
  delete spec.linux.sysctl;
  spec.mounts = spec.mounts.filter(({ type }) => type !== "sysfs" && type !== "mqueue");
}

describe("joined namespaces", () => {
  for (const [type, file] of KINDS.filter(([kind]) => kind !== "mount")) {
    root(`${type}: by path, that of another container`, () => {
      const { id } = startContainer(bundleSleeping({ [type]: "" }));
      const path = `/proc/${stateOf(id)?.pid}/ns/${file}`;
      const bundle = bundleWith(
        `readlink /proc/self/ns/${file}`,
        { [type]: path },
        type === "uts" ? noHostSettings : undefined,
      );
      expect(output(bundle).trim()).toBe(readlinkSync(path));
      runOk(["delete", "--force", id]);
    });
  }

  root("user: by path, with the ids of the other container", () => {
    const { id } = startContainer(bundleSleeping({ user: "" }, mapped));
    const pid = stateOf(id)?.pid;
    const bundle = bundleWith(
      "cat /proc/self/uid_map; id -u; readlink /proc/self/ns/user",
      { user: `/proc/${pid}/ns/user`, network: "" },
      (spec) => {
        if (process.env.TSRUN?.endsWith("runc")) mapped(spec);
      },
    );
    const lines = output(bundle).trim().split("\n");
    expect(lines[0]?.trim().split(/\s+/)).toEqual(["0", "100000", "65536"]);
    expect(lines[1]).toBe("0");
    expect(lines[2]).toBe(readlinkSync(`/proc/${pid}/ns/user`));
    runOk(["delete", "--force", id]);
  });

  own("user: its mappings are known without a copy of them, by process and by a pinned file", () => {
    const { id } = startContainer(bundleSleeping({ user: "" }, mapped));
    const path = `/proc/${stateOf(id)?.pid}/ns/user`;
    const pinned = join(scratch("pinned"), "user");
    writeFileSync(pinned, "");
    expect(spawnSync("mount", ["--bind", path, pinned]).status).toBe(0);
    try {
      for (const user of [path, pinned]) {
        // Layers have the ids of the container only when it is known what those are outside.
        const bundle = bundleWith("stat -c %u /etc/passwd", { user, network: "" });
        expect(output(bundle, ["--overlay", "--overlay-option", "idmap"]), user).toBe("0\n");
        bundle.edit((spec) => Object.assign(spec.process.user ?? {}, { uid: 70000 }));
        const refused = runBundle(bundle);
        expect(refused.code, user).toBe(1);
        expect(refused.stderr, user).toContain("process.user.uid: user 70000 is not in linux.uidMappings");
        expect(refused.stderr, user).toContain(`they are those of ${user}`);
      }
    } finally {
      spawnSync("umount", [pinned]);
    }
    runOk(["delete", "--force", id]);
  });

  own("cgroup and user of another container together, in a cgroup of its own", () => {
    const { id } = startContainer(bundleSleeping({ user: "", cgroup: "" }, mapped));
    const ns = `/proc/${stateOf(id)?.pid}/ns`;
    const bundle = bundleWith(
      "readlink /proc/self/ns/cgroup; readlink /proc/self/ns/user",
      { user: `${ns}/user`, cgroup: `${ns}/cgroup`, network: "" },
      mapped,
    );
    const lines = output(bundle).trim().split("\n");
    expect(lines).toEqual([readlinkSync(`${ns}/cgroup`), readlinkSync(`${ns}/user`)]);
    runOk(["delete", "--force", id]);
  });

  root("user and network of another container, as the containers of a pod share them", () => {
    const { id } = startContainer(bundleSleeping({ user: "" }, mapped));
    const ns = `/proc/${stateOf(id)?.pid}/ns`;
    const bundle = bundleWith(
      "readlink /proc/self/ns/net; ip addr show lo | grep -c LOOPBACK,UP",
      { user: `${ns}/user`, network: `${ns}/net`, ipc: `${ns}/ipc` },
      mapped,
    );
    expect(output(bundle).trim().split("\n")).toEqual([readlinkSync(`${ns}/net`), "1"]);
    runOk(["delete", "--force", id]);
  });

  root("a network namespace that two containers share carries what one sends to the other", async () => {
    const server = startContainer(
      makeBundle({ args: ["sh", "-c", "echo up; while :; do echo answer | nc -l -p 7000; done"] }),
    );
    await server.waitFor("up");
    const bundle = bundleWith(
      "i=0; until nc 127.0.0.1 7000 < /dev/null 2>/dev/null || [ $i -gt 100 ]; do sleep 0.05; i=$((i+1)); done",
      { network: `/proc/${stateOf(server.id)?.pid}/ns/net` },
    );
    expect(output(bundle)).toBe("answer\n");
    runOk(["delete", "--force", server.id]);
  });

  root("a pid namespace that is joined shows the processes of the other container", () => {
    const { id } = startContainer(sleepingBundle());
    const bundle = bundleWith("grep -l sleep /proc/1/cmdline; echo $$ > /dev/null; cat /proc/1/comm", {
      pid: `/proc/${stateOf(id)?.pid}/ns/pid`,
    });
    expect(output(bundle)).toBe("/proc/1/cmdline\nsleep\n");
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });

  own("a path that is not there, or is no namespace, is refused by name", () => {
    for (const path of ["/no/such/ns", "/etc/passwd"]) {
      const result = runBundle(bundleWith("true", { network: path }));
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(path);
    }
  });

  own("a namespace of another kind is refused", () => {
    const result = runBundle(bundleWith("true", { network: "/proc/self/ns/uts" }));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("/proc/self/ns/uts");
  });

  own("the mount namespace of the caller is refused: its root would be changed for everybody", () => {
    const result = runBundle(bundleWith("true", { mount: "/proc/self/ns/mnt" }));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("linux.namespaces: /proc/self/ns/mnt is the mount namespace of tsrun");
  });

  root("one's own namespace by path is as good as none", () => {
    const bundle = bundleWith("readlink /proc/self/ns/ipc", { ipc: "/proc/self/ns/ipc" }, (spec) => {
      delete spec.linux.sysctl;
    });
    expect(output(bundle).trim()).toBe(readlinkSync("/proc/self/ns/ipc"));
  });
});

function bundleSleeping(changes: Partial<Record<Kind, string>>, edit?: (spec: FullSpec) => void): Bundle {
  return sleepingBundle({
    edit: (spec) => {
      withNamespaces(spec, changes);
      edit?.(spec);
    },
  });
}

describe("user namespaces", () => {
  const owned = (bundle: Bundle) => {
    spawnSync("chown", ["-R", "100000:200000", bundle.rootfs]);
    return bundle;
  };

  root("ids are those of the mapping, outside and inside", () => {
    const { id } = startContainer(owned(bundleSleeping({ user: "" }, mapped)));
    const status = readFileSync(`/proc/${stateOf(id)?.pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\s+100000\s/m);
    expect(status).toMatch(/^Gid:\s+200000\s/m);
    expect(runOk(["exec", id, "id", "-u"])).toBe("0\n");
    runOk(["delete", "--force", id]);
  });

  root("a file that root of the container makes belongs to the mapped id outside", () => {
    const bundle = owned(bundleWith("touch /made; stat -c %u:%g /made /bin/busybox", { user: "" }, mapped));
    expect(output(bundle)).toBe("0:0\n0:0\n");
    expect(spawnSync("stat", ["-c", "%u:%g", `${bundle.rootfs}/made`], { encoding: "utf8" }).stdout).toBe(
      "100000:200000\n",
    );
  });

  root("the process may be another user of it, with groups", () => {
    const bundle = owned(
      bundleWith("id -u; id -G", { user: "" }, (spec) => {
        mapped(spec);
        spec.process.user = { uid: 33, gid: 44, additionalGids: [55] };
      }),
    );
    expect(output(bundle)).toBe("33\n44 55\n");
  });

  root("several ranges and a hole: an id in the hole belongs to nobody", () => {
    const bundle = owned(
      bundleWith("stat -c %u /hole; cat /proc/self/uid_map | wc -l", { user: "" }, (spec) => {
        spec.linux.uidMappings = [
          { containerID: 0, hostID: 100000, size: 10 },
          { containerID: 20, hostID: 300000, size: 5 },
        ];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 200000, size: 100 }];
      }),
    );
    spawnSync("touch", [`${bundle.rootfs}/hole`]);
    chownSync(`${bundle.rootfs}/hole`, 500000, 200000);
    expect(output(bundle)).toBe("65534\n2\n");
  });

  root("devices are those of the host, bound", () => {
    const bundle = owned(
      bundleWith("echo x > /dev/null && head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/null", { user: "" }, mapped),
    );
    expect(output(bundle)).toBe("3\n1:3\n");
  });

  own("a device that is another one on the host, or none, is refused in words, and a pipe is made", () => {
    const withDevice = (path: string, type: string, major?: number, minor?: number) =>
      owned(
        bundleWith(`stat -c "%F %t:%T %a" ${path}`, { user: "" }, (spec) => {
          mapped(spec);
          const numbers = major === undefined ? {} : { major, minor };
          spec.linux.devices = [{ path, type, fileMode: 0o640, ...numbers } as never];
        }),
      );
    expect(output(withDevice("/dev/full", "c", 1, 7))).toBe("character special file 1:7 666\n");
    expect(output(withDevice("/dev/pipe", "p"))).toBe("fifo 0:0 640\n");
    for (const [path, type, major, minor, says] of [
      [
        "/dev/full",
        "c",
        10,
        229,
        "check that /dev/full is c 10:229: EINVAL .*\n.*/dev/full of the host is c 1:7, and in a user",
      ],
      ["/dev/full", "b", 1, 7, "is b 1:7: EINVAL .*\n.*/dev/full of the host is c 1:7, and in a user namespace"],
      ["/etc/passwd", "c", 10, 229, "is c 10:229: EINVAL .*\n.*/etc/passwd of the host is no device, and in a user"],
      ["/dev/nosuch", "c", 10, 229, "ENOENT .*\n.*bound at their place, and it has none there"],
    ] as const) {
      const { code, stderr } = runBundle(withDevice(path, type, major, minor));
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`^tsrun: .*linux\\.devices ${path}: .*${says}`)),
      });
    }
  });

  root("a single id mapped is enough", () => {
    const bundle = owned(
      bundleWith("id -u; cat /proc/self/uid_map", { user: "" }, (spec) => {
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 1 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 200000, size: 1 }];
        spec.mounts = spec.mounts.map((mount) => ({
          ...mount,
          ...(mount.options ? { options: mount.options.filter((option) => !option.startsWith("gid=")) } : {}),
        }));
      }),
    );
    expect(output(bundle).trim().split(/\s+/)).toEqual(["0", "0", "100000", "1"]);
  });

  own("an id that is not mapped is refused before anything is made", () => {
    const result = runBundle(
      bundleWith("true", { user: "" }, (spec) => {
        mapped(spec);
        spec.process.user = { uid: 70000, gid: 0 };
      }),
    );
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("process.user.uid: user 70000 is not in linux.uidMappings");
  });

  own("ranges that overlap are refused with their place", () => {
    const result = runBundle(
      bundleWith("true", { user: "" }, (spec) => {
        spec.linux.uidMappings = [
          { containerID: 0, hostID: 1000, size: 10 },
          { containerID: 5, hostID: 2000, size: 10 },
        ];
        spec.linux.gidMappings = spec.linux.uidMappings;
      }),
    );
    expect(result.stderr).toContain("linux.uidMappings[1].containerID");
  });

  root("the capabilities of its root do not reach the host", () => {
    const bundle = owned(
      bundleWith(
        "hostname other && hostname; mount -t tmpfs x /mnt && echo mounted; chroot / true && echo ok; mknod /mnt/x b 8 0 || echo refused",
        { user: "" },
        (spec) => {
          mapped(spec);
          const all = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_CHOWN"];
          spec.process.capabilities = { bounding: all, effective: all, permitted: all };
          delete spec.linux.seccomp;
        },
      ),
    );
    expect(output(bundle)).toBe("other\nmounted\nok\nrefused\n");
  });
});

root("a namespace file that is bound elsewhere is joined by that path", () => {
  const id = newId();
  const bundle = bundleWith("readlink /proc/self/ns/net", { network: "/run/netns-test" });
  const script = `: > /run/netns-test; unshare --net=/run/netns-test true; "$@"; readlink /run/netns-test || stat -L -c %i /run/netns-test`;
  const runtime = process.env.TSRUN ?? `${process.cwd()}/dist/tsrun`;
  const result = spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", script, "sh", runtime, "run", "-b", bundle.path, id],
    { encoding: "utf8", input: "" },
  );
  const [link, inode] = result.stdout.trim().split("\n");
  expect(link).toBe(`net:[${inode}]`);
  run(["delete", "--force", id]);
});
