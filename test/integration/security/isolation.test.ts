/** What a process in a default container can see and do, asserted from inside and, where it can be, from outside. */
import { chmodSync, chownSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withAttacker } from "../../helpers/attacker.ts";
import { busyboxRootfs, type FullSpec, makeBundle } from "../../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../../helpers/container.ts";
import { describeNeeds, needs } from "../../helpers/needs.ts";
import { hostMounts, newId, RUNTIME, run, runBundle, runOk, stateOf } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

/** What the shell script prints in a default container. */
function inside(script: string): string {
  const { stdout, stderr, code } = runBundle(makeBundle({ args: ["sh", "-c", script] }));
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout;
}

/** Root of the container is root of the host, in a user namespace all the same. */
const inUserns = (wanted: boolean) => (spec: FullSpec) => {
  if (!wanted) return;
  spec.linux.namespaces?.push({ type: "user" });
  spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
  spec.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
};

const status = (text: string, field: string) => new RegExp(`^${field}:[ \\t]*(.*)$`, "m").exec(text)?.[1] ?? "";
const CAPS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

describeNeeds({ root: true })("a default container", () => {
  test("is pid 1 of its own, with no groups, no blocked signal and no handler", () => {
    const text = inside("echo pid $$; exec cat /proc/self/status");
    expect(text).toMatch(/^pid 1\n/);
    expect(status(text, "Pid")).toBe("1");
    expect(status(text, "Groups").trim()).toBe("");
    for (const field of ["SigBlk", "SigIgn", "SigCgt", "SigPnd"]) {
      expect({ field, mask: BigInt(`0x${status(text, field)}`) }).toEqual({ field, mask: 0n });
    }
    expect(status(text, "NoNewPrivs")).toBe("1");
  });

  test("has no signal ignored that its caller ignores", () => {
    const bundle = makeBundle({ args: ["cat", "/proc/self/status"] });
    const ignoring = ["-c", 'trap "" INT QUIT TERM HUP USR1 PIPE; exec "$@"', "sh"];
    const { stdout } = run([...ignoring, RUNTIME, "run", "-b", bundle.path, newId()], { runtime: "/bin/sh" });
    expect(status(stdout, "SigIgn")).toBe("0000000000000000");
  });

  needs({ root: true, commands: ["env"] })("has no signal blocked that its caller blocks", () => {
    const bundle = makeBundle({ args: ["cat", "/proc/self/status"] });
    const blocking = ["--block-signal=USR1,HUP,WINCH,RTMIN+3"];
    const { stdout } = run([...blocking, RUNTIME, "run", "-b", bundle.path, newId()], { runtime: "env" });
    expect(status(stdout, "SigBlk")).toBe("0000000000000000");
  });

  test("sees itself alone", () => {
    expect(inside("ls -d /proc/[0-9]* | wc -l; hostname; ls /sys/class/net; wc -l < /proc/net/route")).toMatch(
      /^[1-4]\nrunc\nlo\n1\n$/,
    );
  });

  test("cannot read what is masked nor write what is read-only", () => {
    const text = inside(`
      for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats; do
        [ -e $path ] && [ $(head -c 1 $path 2>/dev/null | wc -c) != 0 ] && echo "readable $path"
      done
      for dir in /proc/acpi /proc/scsi /sys/firmware; do
        [ -d $dir ] && [ "$(ls -A $dir)" != "" ] && echo "listable $dir"
      done
      for path in /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sys/kernel/core_pattern /sys/class/net/lo/mtu; do
        (: >> $path) 2>/dev/null && echo "writable $path"
      done
      for dir in /proc/bus /proc/fs /proc/irq /sys /sys/kernel /sys/fs/cgroup; do
        mkdir $dir/x 2>/dev/null && echo "writable $dir"
      done
      for path in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do
        [ -e $path ] && (echo 1 > $path) 2>/dev/null && echo "writable $path"
      done
      mount -t tmpfs x /tmp 2>/dev/null && echo mounted
      umount /proc/keys 2>/dev/null && echo unmounted
      mount -o remount,rw /sys 2>/dev/null && echo remounted
      hostname other 2>/dev/null && echo renamed
      echo done`);
    expect(text).toBe("done\n");
  });

  needs({ root: true, compiled: "attacker" })(
    "can make a node of a device, as under runc, and not open what the rules do not name",
    () => {
      const bundle = makeBundle({
        args: ["attacker", "nodes", "/tmp/disk"],
        rootfs(path) {
          busyboxRootfs(path);
          withAttacker(path);
        },
        edit(spec) {
          // With the right to make one, so that the cgroup decides.
          for (const set of Object.values(spec.process.capabilities ?? {})) set.push("CAP_MKNOD");
        },
      });
      expect(runBundle(bundle).stdout).toBe("mknod Success, open Operation not permitted\n");
    },
  );

  needs({ root: true, compiled: "attacker" })(
    "has a session keyring of its own, unless told to keep the caller's",
    async () => {
      const rootfs = (path: string) => {
        busyboxRootfs(path);
        withAttacker(path);
      };
      const bundle = makeBundle({ args: ["attacker", "keyring"], rootfs });
      const of = (flags: string[]) => Number(runBundle(bundle, flags).stdout);
      const ours = of(["--no-new-keyring"]);
      const [first, second] = [of([]), of([])];
      expect(first).toBeGreaterThan(0);
      expect(new Set([ours, first, second]).size).toBe(3);
      expect(of(["--no-new-keyring"])).toBe(ours);
      // So has what exec starts: the container's.
      for (const userns of [false, true]) {
        const script = ["sh", "-c", "attacker keyring; exec sleep 1000"];
        const { id, stdout, waitFor } = startContainer(makeBundle({ args: script, rootfs, edit: inUserns(userns) }));
        await waitFor("\n");
        expect({ userns, keyring: runOk(["exec", id, "attacker", "keyring"]) }).toEqual({ userns, keyring: stdout() });
        expect(Number(stdout())).not.toBe(ours);
      }
    },
  );

  test("a masked file is no way to the host's null device: its owner and mode stay", () => {
    const before = statSync("/dev/null");
    const bundle = makeBundle({
      args: ["sh", "-c", "chmod 600 /masked; chown 5:5 /masked; touch /masked; echo x > /masked; cat /masked"],
      edit: (spec) => {
        spec.linux.maskedPaths = ["/masked"];
        for (const set of ["bounding", "effective", "permitted"] as const) {
          spec.process.capabilities?.[set]?.push("CAP_CHOWN", "CAP_FOWNER");
        }
      },
    });
    // No file of procfs: where nothing hides it, its mode would be changed on the host, too.
    writeFileSync(join(bundle.rootfs, "masked"), "");
    try {
      const { stdout, stderr } = runBundle(bundle);
      expect(stdout).toBe("");
      expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
      const { mode, uid, gid } = statSync("/dev/null");
      expect({ mode, uid, gid }).toEqual({ mode: before.mode, uid: before.uid, gid: before.gid });
    } finally {
      // Without the mask's protection the machine would be left with it.
      chmodSync("/dev/null", before.mode & 0o7777);
      chownSync("/dev/null", before.uid, before.gid);
    }
  });

  test("the host's mounts are what they were, during and after", () => {
    const before = hostMounts();
    for (const propagation of ["", "private", "rslave", "shared", "rshared"]) {
      const bundle = sleepingBundle({
        mounts: [{ destination: "/mnt", type: "tmpfs", source: "tmpfs" }],
        edit: (spec) => {
          if (propagation !== "") spec.linux.rootfsPropagation = propagation;
        },
      });
      const { id } = startContainer(bundle);
      expect(hostMounts(), propagation).toEqual(before);
      runOk(["delete", "--force", id]);
      expect(hostMounts(), propagation).toEqual(before);
    }
  });

  test("the host's mounts are what they were where they are shared, as with systemd", () => {
    const script = `
      mount --make-rshared / && mount --bind "$3" "$3" && cat /proc/self/mountinfo && echo = &&
      "$0" run -d -b "$1" "$2" < /dev/null > /dev/null 2>&1 && cat /proc/self/mountinfo && echo = &&
      "$0" delete --force "$2" && cat /proc/self/mountinfo`;
    for (const propagation of ["", "private", "rslave", "shared", "rshared"]) {
      const bundle = sleepingBundle({
        mounts: ["/mnt", "/mounted/mnt"].map((destination) => ({ destination, type: "tmpfs", source: "tmpfs" })),
        edit: (spec) => {
          if (propagation !== "") spec.linux.rootfsPropagation = propagation;
        },
      });
      // A mount in the root file system, which is the host's as well.
      const mounted = join(bundle.rootfs, "mounted");
      mkdirSync(mounted);
      const result = run(["-m", "sh", "-c", script, RUNTIME, bundle.path, newId(), mounted], { runtime: "unshare" });
      expect(result, propagation).toMatchObject({ code: 0, stderr: "" });
      const [before, during, after] = result.stdout.split("=\n");
      expect({ propagation, during }).toEqual({ propagation, during: before });
      expect({ propagation, after }).toEqual({ propagation, after: before });
    }
  });

  test("shares no namespace with the host but those it was told to", () => {
    const { id } = startContainer(sleepingBundle());
    const pid = stateOf(id)?.pid;
    const shared = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].filter(
      (name) => readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`),
    );
    const asked = makeBundle().spec.linux.namespaces?.some(({ type }) => type === "cgroup");
    expect(shared).toEqual([...(asked ? [] : ["cgroup"]), "time", "user"]);
  });
});

describeNeeds({ root: true })("credentials", () => {
  const sets = (text: string) => CAPS.map((field) => BigInt(`0x${status(text, field)}`));
  const mask = (...bits: number[]) => bits.reduce((all, bit) => all | (1n << BigInt(bit)), 0n);
  const [chown, kill, netRaw] = [0, 5, 13];

  test("the five sets are what was asked: inheritable too, ambient only where inheritable", () => {
    const bundle = makeBundle({ args: ["cat", "/proc/self/status"] });
    const ask = (capabilities: Record<string, string[]>, user = 0) => {
      bundle.edit((spec) => {
        spec.process.user = { uid: user, gid: user };
        spec.process.capabilities = capabilities;
      });
      return sets(runBundle(bundle).stdout);
    };
    const all = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"];
    // Root's program gets what is bounding at execve(2): the set that was asked for is the limit.
    expect(ask({ bounding: all, effective: all, permitted: all })).toEqual([
      0n,
      mask(chown, kill, netRaw),
      mask(chown, kill, netRaw),
      mask(chown, kill, netRaw),
      0n,
    ]);
    // An ordinary user keeps what is ambient alone, and nothing is ambient that was not inheritable.
    expect(ask({ bounding: all, effective: all, permitted: all }, 1000)).toEqual([
      0n,
      0n,
      0n,
      mask(chown, kill, netRaw),
      0n,
    ]);
    expect(
      ask({ bounding: all, effective: all, permitted: all, inheritable: ["CAP_KILL"], ambient: ["CAP_KILL"] }, 1000),
    ).toEqual([mask(kill), mask(kill), mask(kill), mask(chown, kill, netRaw), mask(kill)]);
    // What is inheritable is not ambient for that, and what is ambient without being inheritable is left out.
    const kept = { bounding: all, effective: all, permitted: all };
    expect(ask({ ...kept, inheritable: ["CAP_KILL"] }, 1000)).toEqual([
      mask(kill),
      0n,
      0n,
      mask(chown, kill, netRaw),
      0n,
    ]);
    expect(ask({ ...kept, inheritable: ["CAP_KILL"], ambient: ["CAP_KILL", "CAP_CHOWN"] }, 1000)[4]).toBe(mask(kill));
    expect(ask({ ...kept, ambient: ["CAP_KILL"] }, 1000)[4]).toBe(0n);
    expect(ask({}, 0)).toEqual([0n, 0n, 0n, 0n, 0n]);
    expect(ask({ bounding: ["CAP_KILL"] }, 1000)).toEqual([0n, 0n, 0n, mask(kill), 0n]);
  });

  needs({ root: true, commands: ["setpriv"] })("nothing is added by the sets and groups of the caller", () => {
    const bundle = makeBundle({
      args: ["cat", "/proc/self/status"],
      edit: (spec) => {
        spec.process.capabilities = { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], inheritable: ["CAP_KILL"] };
      },
    });
    const caller = ["--groups=5,6", "--inh-caps=+kill,+chown", "--ambient-caps=+kill,+chown", "--"];
    const result = run([...caller, RUNTIME, "run", "-b", bundle.path, newId()], { runtime: "setpriv" });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(status(result.stdout, "Groups").trim()).toBe("");
    expect(sets(result.stdout)).toEqual([mask(kill), mask(kill), mask(kill), mask(kill), 0n]);
  });

  test("exec has no more than the container", () => {
    const { id } = startContainer(sleepingBundle());
    const own = readFileSync(`/proc/${stateOf(id)?.pid}/status`, "utf8");
    const text = runOk(["exec", id, "cat", "/proc/self/status"]);
    expect(sets(text)).toEqual(sets(own));
    expect(status(text, "NoNewPrivs")).toBe(status(own, "NoNewPrivs"));
    expect(sets(runOk(["exec", "--user", "1000:1000", id, "cat", "/proc/self/status"]))[4]).toBe(sets(own)[4]);
  });

  test("exec --user is a number, and never root by accident", () => {
    const { id } = startContainer(sleepingBundle());
    const uidOf = (user: string) => run(["exec", "--user", user, id, "id", "-u"]);
    expect(uidOf("1").stdout).toBe("1\n");
    expect(uidOf("1000:2000").stdout).toBe("1000\n");
    expect(run(["exec", "--user", "1000:2000", id, "id", "-g"]).stdout).toBe("2000\n");
    for (const user of [
      ...["app", "1x", "x1", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "", ":", "1:", ":1", "1:1:1", "1:x", "root"],
      ...["4294967295", "4294967296", "18446744073709551616", "99999999999", "1\n", "1\t2", "１"],
    ]) {
      const result = uidOf(user);
      expect({ user, ran: result.stdout, refused: result.code > 0 }).toEqual({ user, ran: "", refused: true });
      expect(result.stderr).toMatch(/^tsrun: .*\n$/m);
    }
    for (const group of ["app", "1x", "", "-1", "0x1", "1.0", "1,2", "4294967295", "4294967296", "1\n"]) {
      const result = run(["exec", "--user", "1", "--additional-gids", group, id, "id", "-G"]);
      expect({ group, ran: result.stdout, refused: result.code > 0 }).toEqual({ group, ran: "", refused: true });
    }
  });

  test("environment, limits, umask and score are exactly as asked", () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "env; ulimit -n; umask; cat /proc/self/oom_score_adj"],
      env: ["PATH=/bin", "HOME=/x", "A=b c"],
      edit(spec) {
        spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 77, hard: 99 }];
        spec.process.user.umask = 0o77;
        spec.process.oomScoreAdj = 123;
      },
    });
    const { stdout } = runBundle(bundle, [], { env: { BUN_SECRET: "1", NODE_OPTIONS: "", LD_SOMETHING: "2" } });
    const lines = stdout.split("\n").filter((line) => !/^(SHLVL|PWD)=/.test(line));
    expect(lines.slice(0, -4).sort()).toEqual(["A=b c", "HOME=/x", "PATH=/bin"]);
    expect(lines.slice(-4)).toEqual(["77", "0077", "123", ""]);
  });
});

describeNeeds({ root: true, tsrun: true })("sysctls", () => {
  test("reach the real procfs, whatever is mounted on /proc", () => {
    const fake = scratch("fake");
    const file = join(fake, "sys/net/ipv4/ip_forward");
    mkdirSync(join(fake, "sys/net/ipv4"), { recursive: true });
    writeFileSync(file, "0\n");
    const bundle = makeBundle({
      args: ["cat", "/real/sys/net/ipv4/ip_forward"],
      edit(spec) {
        spec.linux.sysctl = { "net.ipv4.ip_forward": "1" };
        spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/proc");
        spec.mounts.unshift(
          { destination: "/proc", type: "bind", source: fake, options: ["bind"] },
          { destination: "/real", type: "proc", source: "proc" },
        );
        spec.linux.maskedPaths = [];
        spec.linux.readonlyPaths = [];
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "1\n", stderr: "" });
    expect(readFileSync(file, "utf8")).toBe("0\n");
  });
});

describeNeeds({ root: true })("cgroups of others", () => {
  test("a path with .. is refused, in the config and in exec", () => {
    for (const path of ["/..", "../x", "/a/../../b", "..", "/a/..", "a/../.."]) {
      const bundle = makeBundle({ edit: (spec) => (spec.linux.cgroupsPath = path) });
      const result = runBundle(bundle);
      expect({ path, code: result.code }).toEqual({ path, code: 1 });
      expect(result.stderr).toMatch(/cgroupsPath.*\.\./);
    }
    const { id } = startContainer(sleepingBundle());
    for (const path of ["..", "../..", "a/../..", "/..", "memory:..", "memory:/../.."]) {
      const result = run(["exec", "--cgroup", path, id, "true"]);
      expect({ path, refused: result.code > 0 }).toEqual({ path, refused: true });
      expect(result.stderr).toContain("..");
    }
  });
});
