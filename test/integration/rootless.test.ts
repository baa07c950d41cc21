/** Containers of an ordinary user: `tsrun spec --rootless`, one id or, with newuidmap(1), many. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { busyboxRootfs, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { OrdinaryUser, SUBORDINATE, UID } from "../helpers/ordinary-user.ts";
import { expectNothingLeft, inventory, type Leftovers, newId, runOk, stateOf } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const wanted = { root: true, tsrun: true, commands: ["setpriv", "unshare"] };
const own = needs(wanted);
const ranges = needs({ ...wanted, commands: [...wanted.commands, "newuidmap"], files: ["/etc/subuid"] });
const fuse = needs({
  ...wanted,
  commands: [...wanted.commands, "newuidmap", "fuse-overlayfs"],
  files: ["/etc/subuid", "/dev/fuse"],
});

let before: Leftovers;
let user: OrdinaryUser;
let home: string;
beforeAll(() => {
  before = inventory();
  user = new OrdinaryUser();
  home = user.home;
});
afterAll(() => expectNothingLeft(before));

const asUser = (script: string) => user.run(script);

/** What `tsrun spec --rootless` writes, with another command; the user's own. */
function rootlessBundle(script: string, edit?: (spec: FullSpec) => void) {
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
  return bundle;
}

describe("a single id", () => {
  own("where /proc hides what is not one's own a container lives its whole life", () => {
    const { path } = rootlessBundle("exec sleep 3600");
    const id = newId();
    // A procfs of its own: an option of the one that is there would be everybody's.
    const hide = "mount -t proc -o hidepid=2 proc /proc";
    const { stdout, stderr, status } = user.run(
      `set -e
      for i in 1 2 3 4 5 6 7 8 9 10; do
        $R create -b ${path} ${id} </dev/null >${home}/out 2>&1 || { cat ${home}/out; exit 1; }
        $R start ${id}; $R exec ${id} true; $R state ${id} | grep -c '"status": "running"'; $R delete --force ${id}
      done`,
      hide,
    );
    expect({ stdout, stderr, status }).toEqual({ stdout: "1\n".repeat(10), stderr: "", status: 0 });
  });

  own("the bundle that tsrun spec --rootless writes runs unchanged", () => {
    const dir = scratch("bundle");
    mkdirSync(join(dir, "rootfs"));
    busyboxRootfs(join(dir, "rootfs"));
    user.give(dir);
    const { stdout, stderr, status } = asUser(
      `cd ${dir} && $R spec --rootless && echo 'id -u; hostname; exit 7' | script -qec "$R run ${newId()}" /dev/null`,
    );
    expect(stderr).toBe("");
    expect(stdout).toContain("tsrun\r\n");
    expect(stdout.replaceAll("\r", "")).toMatch(/^0$/m);
    expect(status).toBe(7);
  });

  own("the process is root inside and the user outside, in namespaces of its own", () => {
    const bundle = rootlessBundle("id -u; cat /proc/self/uid_map; echo $$; touch /made; cat /proc/self/setgroups");
    const { stdout, stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}; stat -c %u ${bundle.rootfs}/made`);
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "0", String(UID), "1", "1", "deny", String(UID)]);
    expect(status).toBe(0);
  });

  own("oomScoreAdj is the process's, and that of an exec", () => {
    const bundle = rootlessBundle("cat /proc/self/oom_score_adj; exec sleep 3600", (spec) => {
      spec.process.oomScoreAdj = 100;
    });
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R run -d -b ${bundle.path} ${id} < /dev/null > ${home}/out || exit 1
      until [ -s ${home}/out ]; do sleep 0.05; done
      $R exec ${id} cat /proc/self/oom_score_adj
      $R delete -f ${id}
      cat ${home}/out`);
    expect(stderr).toBe("");
    expect(stdout).toBe("100\n100\n");
  });

  own("create, start, exec, state, kill and delete work as root's do", () => {
    const bundle = rootlessBundle("sleep 3600");
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R create -b ${bundle.path} ${id} < /dev/null > /dev/null || exit 1
      $R state ${id} | grep -o '"status": "[a-z]*"'
      $R start ${id}
      $R exec ${id} sh -c 'id -u; hostname'
      $R list -q
      $R kill ${id} KILL
      until $R state ${id} | grep -q stopped; do sleep 0.05; done
      $R delete ${id} && $R list -q`);
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual(['"status": "created"', "0", "runc", id]);
    expect(readdirSync(join(home, "run/tsrun"))).toEqual([]);
  });

  own("a created container takes an exec, and mounts, before it is started", () => {
    const bundle = rootlessBundle("ls /late; exec sleep 3600");
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R create -b ${bundle.path} ${id} < /dev/null > ${home}/out || exit 1
      $R exec ${id} hostname
      echo '[{"destination": "/late", "type": "tmpfs", "source": "tmpfs"}]' | $R mounts add ${id} -
      $R exec ${id} touch /late/file
      $R start ${id}
      until [ -s ${home}/out ]; do sleep 0.05; done
      cat ${home}/out
      $R delete -f ${id}`);
    expect(stderr).toBe("");
    expect(stdout).toBe("runc\nfile\n");
  });

  own("delete of a container without layers needs no store: not even one that the user may look into", () => {
    const closed = scratch("closed");
    chmodSync(closed, 0o700);
    const [long, short] = [rootlessBundle("sleep 3600"), rootlessBundle("true")];
    const { stdout, stderr } = asUser(`
      export XDG_DATA_HOME=${closed}
      $R create -b ${long.path} ${newId()} < /dev/null > /dev/null
      $R run -d -b ${long.path} ${newId()} < /dev/null > /dev/null
      $R run -b ${short.path} ${newId()}
      for id in $($R list -q); do echo; $R delete -f $id; done
      $R list -q`);
    expect(stderr).toBe("");
    expect(stdout).toBe("\n\n");
  });

  own("a bundle for root is refused with what it needs", () => {
    const bundle = makeBundle();
    user.give(bundle.path);
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain("linux.namespaces");
    expect(stderr).toContain("spec --rootless");
  });

  own("the user namespace of another container is joined, in which groups cannot be set", () => {
    const first = newId();
    const holder = rootlessBundle("exec sleep 3600");
    const joining = rootlessBundle("id -u; cat /proc/self/uid_map; cat /etc/hostname", (spec) => {
      spec.linux.namespaces = (spec.linux.namespaces ?? []).map((namespace) =>
        namespace.type === "user" ? { type: "user", path: "/proc/PID/ns/user" } : namespace,
      );
      delete (spec.linux as { uidMappings?: unknown }).uidMappings;
      delete (spec.linux as { gidMappings?: unknown }).gidMappings;
      spec.hostname = "joined";
    });
    const { stdout, stderr } = asUser(`
      $R run -d -b ${holder.path} ${first} < /dev/null > ${home}/out || exit 1
      pid=$($R state ${first} | grep -o '"pid": [0-9]*' | grep -o '[0-9]*')
      sed -i "s/PID/$pid/" ${joining.path}/config.json
      $R run -b ${joining.path} --overlay ${newId()}
      $R delete -f ${first}`);
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "0", String(UID), "1", "joined"]);
  });

  own("root of a user namespace without the caller's ids hears which it has", () => {
    const bundle = rootlessBundle("true");
    const { stderr, status } = asUser(`unshare -Urm $R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain(`has no ids ${UID} to ${UID}: 0 to 0`);
  });

  own("all that only root may do is named at once, and nothing is made", () => {
    const bundle = rootlessBundle("true", (spec) => {
      spec.mounts.push({ destination: "/disk", type: "ext4", source: "/dev/vda" });
      spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "ipc");
      spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 2 }];
    });
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain("config.json has 3 problems");
    for (const word of ["ext4", "mqueue", "linux.uidMappings"]) expect(stderr).toContain(word);
    expect(readdirSync(join(home, "run/tsrun"))).toEqual([]);
  });

  const REFUSED: Record<string, [edit: (spec: FullSpec) => void, named: string]> = {
    "a score with the OOM killer below his own": [
      (spec) => {
        spec.process.oomScoreAdj = -1000;
      },
      "process.oomScoreAdj: -1000",
    ],
    "a realtime policy": [
      (spec) => {
        spec.process.scheduler = { policy: "SCHED_FIFO", priority: 5 };
      },
      "process.scheduler.policy: SCHED_FIFO needs CAP_SYS_NICE",
    ],
    "a niceness below his own": [
      (spec) => {
        spec.process.scheduler = { policy: "SCHED_OTHER", nice: -5 };
      },
      "process.scheduler.nice: -5",
    ],
    "the realtime class of I/O": [
      (spec) => {
        spec.process.ioPriority = { class: "IOPRIO_CLASS_RT", priority: 0 };
      },
      "process.ioPriority.class: IOPRIO_CLASS_RT needs CAP_SYS_NICE",
    ],
    "groups beside his own": [
      (spec) => {
        spec.process.user = { uid: 0, gid: 0, additionalGids: [0] };
      },
      "process.user.additionalGids: ",
    ],
    "a namespace of somebody else": [
      (spec) => {
        spec.linux.namespaces?.push({ type: "network", path: "/proc/self/ns/net" });
      },
      "a network namespace can be joined only together with the user namespace",
    ],
    "the machine's domain name": [
      (spec) => {
        spec.linux.sysctl = { "kernel.domainname": "x" };
      },
      "linux.sysctl.kernel.domainname: ",
    ],
    "a file system of eBPF": [
      (spec) => {
        spec.mounts.push({ destination: "/bpf", type: "bpf", source: "bpf" });
      },
      'a file system of type "bpf"',
    ],
    "an owner that is not mapped": [
      (spec) => {
        spec.mounts.push({ destination: "/dev/other", type: "devpts", source: "x", options: ["newinstance", "gid=5"] });
      },
      '"gid=5" is not in linux.gidMappings',
    ],
    "memory that is not swapped": [
      (spec) => {
        spec.mounts.push({ destination: "/mnt", type: "tmpfs", source: "x", options: ["noswap"] });
      },
      '"noswap" of a tmpfs',
    ],
  };
  for (const [name, [edit, named]] of Object.entries(REFUSED)) {
    own(`${name} is named before anything is made`, () => {
      // What fails at a step of the init says the same with an errno.
      const bundle = rootlessBundle("true", edit);
      const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
      expect(stderr).toContain(named);
      expect(stderr).not.toMatch(/\bE[A-Z]{3,}\b/);
      expect(status).toBe(1);
      expect(readdirSync(join(home, "run/tsrun"))).toEqual([]);
    });
  }

  own("a score that is not below his own, and a niceness above it, are set", () => {
    const bundle = rootlessBundle("cat /proc/self/oom_score_adj; cut -d ' ' -f 19 /proc/self/stat", (spec) => {
      spec.process.oomScoreAdj = 300;
      spec.process.scheduler = { policy: "SCHED_OTHER", nice: 5 };
    });
    const id = newId();
    // What he raised himself he may lower again: the kernel's bound is not what the process has.
    const { stdout, stderr } = asUser(`echo 500 > /proc/self/oom_score_adj; $R run -b ${bundle.path} ${id}`);
    expect(stderr).toBe("");
    expect(stdout).toBe("300\n5\n");
  });

  own("a limit that was asked for and cannot be set is an error, not ignored", () => {
    const bundle = rootlessBundle("true", (spec) => {
      spec.linux.resources = { memory: { limit: 2 ** 26 } };
    });
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/memory|cgroup/);
  });

  own("the mounts and files of others are as far away as before", () => {
    const bundle = rootlessBundle(
      "cat /data/shadow 2>/dev/null || echo refused; mount -o remount,rw / 2>/dev/null || echo no",
      (spec) => {
        spec.mounts.push({ destination: "/data", source: "/etc", options: ["rbind", "ro"] });
      },
    );
    expect(asUser(`$R run -b ${bundle.path} ${newId()}`).stdout).toContain("refused\n");
  });

  own("a container of root's is out of reach: no verb sees into it, changes or ends it", () => {
    const container = startContainer(sleepingBundle());
    try {
      const verbs = [
        "state X",
        "kill X KILL",
        "exec X true",
        "pause X",
        "update --pids-limit 5 X",
        "delete -f X",
        "ps X",
      ];
      const { stdout } = asUser(
        verbs
          .map((verb) => `$R --root /run/tsrun ${verb.replace("X", container.id)} 2>&1; echo "${verb}: $?"`)
          .join("\n"),
      );
      expect(stdout).not.toMatch(/: 0$/m);
      expect(stdout).not.toContain('"pid"');
      expect(stdout).toMatch(/EACCES|denied/);
      expect(stateOf(container.id)?.status).toBe("running");
    } finally {
      runOk(["delete", "-f", container.id]);
    }
  });

  own("a view of the running system is root's, and says so", () => {
    const { stderr, status } = asUser("$R try -- true");
    expect(status).not.toBe(0);
    expect(stderr).toContain("by root only");
  });

  own("without XDG_RUNTIME_DIR the state has a place by --root", () => {
    const bundle = rootlessBundle("echo ran");
    const { stdout } = asUser(`unset XDG_RUNTIME_DIR; $R --root ${home}/state run -b ${bundle.path} ${newId()}`);
    expect(stdout).toBe("ran\n");
    const { stderr } = asUser(`unset XDG_RUNTIME_DIR; $R run -b ${bundle.path} ${newId()}`);
    expect(stderr).toContain("no place for the states of containers: mkdir /run/tsrun");
    expect(stderr).toContain("fix: set XDG_RUNTIME_DIR");
  });
});

/** What is left of containers in the user's store. */
function storeEntries(): string[] {
  const store = join(home, "data/tsrun/overlay2");
  if (!existsSync(store)) return [];
  return readdirSync(store).filter((name) => /^[0-9a-f]{64}/.test(name));
}

const RANGE = [
  { containerID: 0, hostID: UID, size: 1 },
  { containerID: 1, hostID: SUBORDINATE.first, size: SUBORDINATE.count },
];

describe("layers", () => {
  own("a bundle under an overlay stays as it is, and nothing is left in the user's store", () => {
    const script = "id -u; echo changed > /etc/passwd; rm /etc/group; mkdir /made; cat /etc/hostname; mount | head -1";
    const bundle = rootlessBundle(script, (spec) => {
      spec.hostname = "web";
    });
    const { stdout, stderr, status } = asUser(`$R run -b ${bundle.path} --overlay ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^0\nweb\noverlay on \/ type overlay /);
    expect(stdout).toContain("userxattr");
    expect(status).toBe(0);
    expect(readdirSync(bundle.rootfs)).not.toContain("made");
    expect(readFileSync(join(bundle.rootfs, "etc/passwd"), "utf8")).toContain("root:x:0:0");
    expect(storeEntries()).toEqual([]);
  });

  own("HOME is what the topmost layer's passwd says", () => {
    const bundle = rootlessBundle("echo $HOME");
    const top = scratch("layer");
    mkdirSync(join(top, "etc"));
    writeFileSync(join(top, "etc/passwd"), "root:x:0:0::/elsewhere:/bin/sh\n");
    user.give(top);
    const flags = `--layer ${bundle.rootfs} --layer ${top}`;
    expect(asUser(`$R run -b ${bundle.path} ${flags} ${newId()}`).stdout).toBe("/elsewhere\n");
  });

  own("a directory whose owner may not enter it goes with the container all the same", () => {
    const bundle = rootlessBundle(
      "mkdir -p /closed/inner && touch /closed/inner/file && chmod 0 /closed/inner /closed",
    );
    const { stderr } = asUser(`$R run -b ${bundle.path} --overlay ${newId()}`);
    expect(stderr).toBe("");
    expect(storeEntries()).toEqual([]);
  });

  own("a named read-write layer is there at the next run", () => {
    const first = rootlessBundle("echo kept > /file; rm /etc/group");
    const next = rootlessBundle("cat /file; ls /etc/group");
    const layer = `--layer ${first.rootfs} --rw-layer kept-${process.pid}`;
    const { stdout, stderr } = asUser(`
      $R run -b ${first.path} ${layer} ${newId()}
      $R run -b ${next.path} ${layer} ${newId()}`);
    expect(stdout).toBe("kept\n");
    expect(stderr).toContain("/etc/group");
  });

  own("driver vfs copies the layers, and leaves nothing either", () => {
    const bundle = rootlessBundle("mount | head -1; cat /top /etc/hostname; echo x > /made");
    const top = scratch("layer");
    writeFileSync(join(top, "top"), "top\n");
    user.give(top);
    const flags = `--layer ${bundle.rootfs} --layer ${top} --driver vfs`;
    const { stdout, stderr } = asUser(`$R run -b ${bundle.path} ${flags} ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout).toContain("top\nrunc\n");
    expect(stdout).not.toContain("type overlay");
    expect(readdirSync(bundle.rootfs)).not.toContain("made");
    expect(storeEntries()).toEqual([]);
  });

  fuse("driver fuse-overlayfs is a program that ends with the container", () => {
    const id = newId();
    const script = `mount | head -1; echo x > /made; ls /etc/group; mkdir -p /d && chown 1000 /d && stat -c %u /d`;
    const bundle = rootlessBundle(script, (spec) => {
      spec.linux.uidMappings = RANGE;
      spec.linux.gidMappings = RANGE;
      const capabilities = ["CAP_CHOWN"];
      spec.process.capabilities = { bounding: capabilities, effective: capabilities, permitted: capabilities };
    });
    const sleeper = rootlessBundle("exec sleep 3600");
    // A device that anybody may open: here it may be root's alone.
    const { stdout, stderr } = user.run(
      `$R run -b ${bundle.path} --overlay --driver fuse-overlayfs ${newId()}
      $R run -d -b ${sleeper.path} --overlay --driver fuse-overlayfs ${id} < /dev/null > ${home}/out
      pid=$(grep -o '"fuse":{[^}]*' ${home}/run/tsrun/${id}/state.json | grep -o '"pid":[0-9]*' | cut -d: -f2)
      cut -d ' ' -f 2 /proc/$pid/stat
      $R exec ${id} sh -c 'echo written > /new && cat /new'
      $R delete -f ${id}
      [ -e /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status && echo left`,
      `mknod -m 666 ${home}/fuse c 10 229; mount --bind ${home}/fuse /dev/fuse`,
    );
    expect(stderr).toBe("");
    expect(stdout).toMatch(
      /^fuse-overlayfs on \/ type fuse\.fuse-overlayfs .*\n\/etc\/group\n1000\n\(fuse-overlayfs\)\nwritten\n$/,
    );
    expect(readdirSync(bundle.rootfs)).not.toContain("made");
    expect(storeEntries()).toEqual([]);
  });

  fuse("where the device may not be opened, the program's own words are told", () => {
    const bundle = rootlessBundle("true");
    const { stderr, status } = user.run(
      `$R run -b ${bundle.path} --overlay --driver fuse-overlayfs ${newId()}`,
      `mknod -m 600 ${home}/closed c 10 229; mount --bind ${home}/closed /dev/fuse`,
    );
    expect(status).toBe(1);
    expect(stderr).toMatch(/mount fuse-overlayfs .*(fuse|ermission)/);
    expect(stderr).toContain("/dev/fuse");
    expect(storeEntries()).toEqual([]);
  });

  own("an image is imported, run, committed and run again", () => {
    const bundle = rootlessBundle("true");
    const { stdout, stderr } =
      asUser(`export XDG_DATA_HOME=${home}/images; cd ${home} && tar -C ${bundle.rootfs} -cf image.tar . &&
      $R image import image.tar web 2>/dev/null
      $R run --rw-layer image-${process.pid} --image web -- sh -c 'echo one > /one; rm /etc/group; id -u'
      $R image commit image-${process.pid} web:2 > /dev/null
      $R run --image web:2 -- sh -c 'cat /one; ls /etc/group 2>&1; exit 3'; echo $?`);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/web:latest\n0\none\nls: \/etc\/group: No such file or directory\n3\n$/);
  });

  ranges("what belongs to the container's other users goes with it, detached and in the foreground", () => {
    const script = "mkdir -p /data/dir; touch /data/dir/file; chown -R 1000:1000 /data; chmod 700 /data";
    const bundle = rootlessBundle(`${script}; stat -c %u /data/dir/file`, (spec) => {
      spec.linux.uidMappings = RANGE;
      spec.linux.gidMappings = RANGE;
      const capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"];
      spec.process.capabilities = { bounding: capabilities, effective: capabilities, permitted: capabilities };
    });
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R run -b ${bundle.path} --overlay ${newId()}
      $R run -d -b ${bundle.path} --overlay ${id} < /dev/null > ${home}/out
      until $R state ${id} | grep -q stopped; do sleep 0.05; done
      stat -c %u ${home}/data/tsrun/overlay2/*/diff/data
      $R delete ${id}`);
    expect(stderr).toBe("");
    expect(stdout).toBe(`1000\n${SUBORDINATE.first + 999}\n`);
    expect(storeEntries()).toEqual([]);
  });
});

describe("plan", () => {
  own("shows the overlay among the steps of the process", () => {
    const bundle = rootlessBundle("true");
    const { stdout } = asUser(`$R --rootless true plan --overlay ${bundle.path}`);
    expect(stdout).toMatch(/fsmount overlay \[source=overlay index=off userxattr .*lowerdir\+=/);
    expect(storeEntries()).toEqual([]);
  });
});

describe("ranges of ids", () => {
  ranges("an image keeps the owners that it names, from import to export", () => {
    const { stdout, stderr } =
      asUser(`export XDG_DATA_HOME=${home}/owners; mkdir -p ${home}/tree && cd ${home}/tree || exit 1
      mkdir -p bin etc home/app; cp /bin/busybox bin; for a in sh stat touch mkdir chmod; do ln -s busybox bin/$a; done
      tar --owner=0 --group=0 -cf ../owners.tar bin etc; tar --owner=1000 --group=1000 -rf ../owners.tar home/app
      $R image import ../owners.tar owned > /dev/null 2> ../import.err; grep 'could not' ../import.err
      $R run --rw-layer owners --image owned -- sh -c 'stat -c %u /home/app; mkdir /v /home/app/own; chmod 700 /home/app'
      $R image commit --change 'VOLUME /home/app' owners owned:2 > /dev/null
      $R layer why owners /home/app | grep -o ' [0-7]* [0-9]*:[0-9]*' | sort -u
      $R layer export owners -o ../flat.tar && tar -tvf ../flat.tar | grep -c ' home/app/own/'
      $R bundle owned:2 ../bundle -- sh -c 'stat -c %u:%a /home/app' && $R run -b ../bundle b-${process.pid} < /dev/null
      stat -c %u ../bundle/volumes/0
      $R image remove owned:2 > /dev/null; $R layer check > /dev/null && echo whole`);
    expect(stderr).not.toContain("could not be kept");
    expect(stdout.trim().split("\n"), stderr).toEqual([
      "1000",
      " 0700 1000:1000",
      " 0755 1000:1000",
      "1",
      "1000:700",
      String(SUBORDINATE.first + 999),
      "whole",
    ]);
  });

  ranges("an image has all of them, for its other users", () => {
    const bundle = rootlessBundle("true");
    const { stdout, stderr } = asUser(`export XDG_DATA_HOME=${home}/images; cd ${home}
      tar -C ${bundle.rootfs} -cf users.tar . && $R image import users.tar users 2>/dev/null >&2
      $R run --image users -- sh -c 'cat /proc/self/uid_map; touch /tmp/x && chown 1000:1000 /tmp/x; stat -c %u /tmp/x'`);
    expect(stdout.trim().split(/\s+/), stderr).toEqual(
      ["0", UID, "1", "1", SUBORDINATE.first, SUBORDINATE.count, "1000"].map(String),
    );
  });

  ranges("are mapped by newuidmap and newgidmap", () => {
    const bundle = rootlessBundle("cat /proc/self/uid_map; id -u; id -G", (spec) => {
      spec.linux.uidMappings = [
        { containerID: 0, hostID: UID, size: 1 },
        { containerID: 1, hostID: 500000, size: 65536 },
      ];
      spec.linux.gidMappings = spec.linux.uidMappings;
      spec.process.user = { uid: 1000, gid: 1000, additionalGids: [2000] };
    });
    const { stdout, stderr } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "4242", "1", "1", "500000", "65536", "1000", "1000", "2000"]);
  });

  ranges("that are not the user's are refused with those that are", () => {
    const bundle = rootlessBundle("true", (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
    });
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain(
      `newuidmap will not map 0 to 9: this user's ids in /etc/subuid are ${SUBORDINATE.first} to`,
    );
  });
});
