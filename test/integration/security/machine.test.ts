/**
 * A machine in trouble: a disk that is full or read-only, no process or memory to be had, a cgroup that is frozen or not
 * empty. Everything ends in bounded time and says what is the matter; what cannot be removed is
 * named, and removed by the next `delete` once it can be.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { createContainer, runDetached, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { cgroupLayout, needs } from "../../helpers/needs.ts";
import {
  cgroupsNamed,
  expectNothingLeft,
  inventory,
  newId,
  RUNTIME,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true });

/** A mount of its own for the time of a test. */
async function withMount(type: string, options: string, body: (path: string) => unknown): Promise<void> {
  const path = scratch("mount");
  expect(spawnSync("mount", ["-t", type, "-o", options, type, path], { encoding: "utf8" })).toMatchObject({
    status: 0,
  });
  try {
    await body(path);
  } finally {
    spawnSync("umount", ["-l", path]);
  }
}

function fill(path: string): void {
  spawnSync("dd", ["if=/dev/zero", `of=${join(path, "full")}`, "bs=4k"], { stdio: "ignore" });
  expect(existsSync(join(path, "full"))).toBe(true);
}

describe("a disk", () => {
  root("that is full: no container, a message, and nothing left", async () => {
    const before = inventory();
    await withMount("tmpfs", "size=64k,nr_inodes=30", (path) => {
      fill(path);
      const { code, stderr } = run(["--root", path, "run", "-b", makeBundle().path, newId()]);
      expect(stderr).toMatch(/^tsrun: run .*ENOSPC \(No space left on device\)/);
      expect(code).toBe(1);
      expect(readdirSync(path)).toEqual(["full"]);
    });
    expectNothingLeft(before);
  });

  root("that becomes full under a container: it is told truly, and can be ended and removed", async () => {
    const before = inventory();
    await withMount("tmpfs", "size=256k,nr_inodes=60", (path) => {
      const id = newId();
      expect(runDetached(["--root", path, "run", "-d", "-b", sleepingBundle().path, id]).code).toBe(0);
      fill(path);
      expect(JSON.parse(runOk(["--root", path, "state", id])).status).toBe("running");
      expect(runOk(["--root", path, "exec", id, "echo", "well"])).toBe("well\n");
      expect(runOk(["--root", path, "list", "-q"])).toBe(`${id}\n`);
      runOk(["--root", path, "kill", id, "KILL"]);
      runOk(["--root", path, "delete", "--force", id]);
      expect(readdirSync(path)).toEqual(["full"]);
    });
    expectNothingLeft(before);
  });

  root("that is full where a read-write layer is: the container sees it, and its layer goes with it", async () => {
    const before = inventory();
    await withMount("tmpfs", "size=1m", (store) => {
      const bundle = makeBundle({
        args: ["sh", "-c", "dd if=/dev/zero of=/big bs=64k; echo wrote $?"],
        edit: (spec) => (spec.annotations = { "org.tsrun.overlay": "true" }),
      });
      const result = run(["run", "--store", store, "-b", bundle.path, newId()]);
      expect(result.stdout).toBe("wrote 1\n");
      expect(result.stderr).toContain("No space left on device");
      // The next one finds the room again.
      expect(run(["run", "--store", store, "-b", bundle.path, newId()]).stdout).toBe("wrote 1\n");
    });
    expectNothingLeft(before);
  });

  root("that is read-only: said so by what would write, and nothing else minds", async () => {
    const before = inventory();
    await withMount("tmpfs", "size=1m", (path) => {
      const id = newId();
      expect(runDetached(["--root", path, "run", "-d", "-b", sleepingBundle().path, id]).code).toBe(0);
      spawnSync("mount", ["-o", "remount,ro", path]);
      expect(run(["--root", path, "create", "-b", makeBundle().path, newId()]).stderr).toMatch(
        /EROFS \(Read-only file system\)/,
      );
      expect(JSON.parse(runOk(["--root", path, "state", id])).status).toBe("running");
      expect(runOk(["--root", path, "exec", id, "echo", "well"])).toBe("well\n");
      const removed = run(["--root", path, "delete", "--force", id]);
      expect(removed.code).toBe(1);
      expect(removed.stderr).toMatch(/^tsrun: delete .*EROFS/);
      expect(JSON.parse(runOk(["--root", path, "state", id])).status).toBe("stopped");
      spawnSync("mount", ["-o", "remount,rw", path]);
      runOk(["--root", path, "delete", "--force", id]);
      expect(readdirSync(path)).toEqual([]);
    });
    expectNothingLeft(before);
  });
});

describe("limits of the caller", () => {
  const limited = (limit: string, args: readonly string[]) =>
    // As its standard input is a socket, bash would take itself for a remote shell's and read ~/.bashrc.
    run(["--norc", "-c", `ulimit ${limit}; exec "$@"`, "sh", RUNTIME, ...args], { runtime: "/bin/bash" });

  root("few descriptors: it works with those, or says that there are too few", () => {
    const before = inventory();
    const bundle = makeBundle();
    const said = new Set<string>();
    for (const count of [4, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256]) {
      const { code, stderr } = limited(`-Sn ${count}`, ["run", "-b", bundle.path, newId()]);
      if (code === 0) said.add("works");
      else expect(stderr, `${count} descriptors`).toMatch(/^tsrun: .*(EMFILE|\n {2}fix: RLIMIT_NOFILE)/);
    }
    expect(said).toContain("works");
    expectNothingLeft(before);
  });

  root("descriptors that are fewer than the mounts of a container: so it says, with the limit", () => {
    const before = inventory();
    const mounts = Array.from({ length: 40 }, (_, i) => ({ destination: `/m${i}`, type: "tmpfs", source: "tmpfs" }));
    const bundle = makeBundle({ mounts });
    for (const count of [70, 100]) {
      const { code, stderr } = limited(`-Sn ${count}`, ["run", "-b", bundle.path, newId()]);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          new RegExp(
            `^tsrun: run .*mounts\\[\\d+\\] .*: EBADF .*\n {2}fix: RLIMIT_NOFILE \\(ulimit -n\\), ${count} for`,
          ),
        ),
      });
    }
    expectNothingLeft(before);
  });

  root("small files: it works with those, or says that they are too small", () => {
    const before = inventory();
    const bundle = makeBundle();
    const codes = new Set<number>();
    for (const kilobytes of [0, 1, 2, 8, 64, 1000]) {
      const { code, signal, stderr } = limited(`-f ${kilobytes}`, ["run", "-b", bundle.path, newId()]);
      codes.add(code);
      expect({ signal, kilobytes }).toEqual({ signal: null, kilobytes });
      if (code !== 0) expect(stderr, `${kilobytes} KB`).toMatch(/^tsrun: .*EFBIG \(File too large\)/);
    }
    expect(codes).toContain(0);
    expectNothingLeft(before);
  });

  root("little memory: it works with it, or says that there is too little", () => {
    const before = inventory();
    const bundle = makeBundle();
    const codes = new Set<number>();
    for (const kilobytes of [3000, 4000, 6000, 8000, 12_000, 16_000, 64_000]) {
      const { code, signal, stderr } = limited(`-v ${kilobytes}`, ["run", "-b", bundle.path, newId()]);
      codes.add(code);
      // Too little to load the program at all is for the kernel to say.
      if (code > 0 && code < 126) expect(stderr, `${kilobytes} KB`).toMatch(/^tsrun: .*(ENOMEM|EAGAIN|memory)/);
      expect({ kilobytes, signal: signal === "SIGKILL" || signal === "SIGSEGV" ? null : signal, stderr }).toMatchObject(
        { signal: null },
      );
    }
    expect(codes).toContain(0);
    expectNothingLeft(before);
  });

  needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["pids"] })(
    "no process to be had: EAGAIN, with the limits that can be the reason",
    () => {
      const before = inventory();
      const group = join("/sys/fs/cgroup", cgroupLayout() === "v2" ? "" : "pids", newId("few"));
      mkdirSync(group);
      try {
        // The shell and the runtime are two, and the init would be a third.
        writeFileSync(join(group, "pids.max"), "1");
        const script = `echo $$ > ${group}/cgroup.procs; exec "$@"`;
        const result = run(["-c", script, "sh", RUNTIME, "run", "-b", makeBundle().path, newId()], {
          runtime: "/bin/sh",
        });
        expect(result.stderr).toMatch(/^tsrun: run .*EAGAIN/);
        expect(result.stderr).toMatch(/pids\.max/);
        expect(result.code).toBe(1);
      } finally {
        spawnSync("rmdir", [group]);
      }
      expectNothingLeft(before);
    },
  );
});

describe("the cgroup of a container", () => {
  const groups = (id: string) => cgroupsNamed(id).filter((path) => !path.slice(path.indexOf(id)).includes("/"));

  needs({ root: true, tsrun: true, controllers: ["freezer"] })(
    "frozen by somebody else: delete --force thaws, ends and removes",
    async () => {
      const before = inventory();
      const { id } = startContainer(sleepingBundle());
      freeze(groups(id));
      await until(() => stateOf(id)?.status === "paused", "state says that it is paused");
      expect(runOk(["list", "-q"])).toContain(id);
      const began = Date.now();
      runOk(["delete", "--force", id]);
      expect(Date.now() - began).toBeLessThan(15_000);
      expectNothingLeft(before);
    },
  );

  root("with a process of somebody else in it: it is ended with the rest", async () => {
    const before = inventory();
    const { id } = startContainer(sleepingBundle());
    const bystander = spawn(["-c", "echo here; exec sleep 1000"], { runtime: "/bin/sh" });
    await bystander.waitFor("here");
    for (const group of groups(id)) writeFileSync(join(group, "cgroup.procs"), String(bystander.pid));
    runOk(["delete", "--force", id]);
    expect((await bystander.exit).signal).toBe("SIGKILL");
    expectNothingLeft(before);
  });

  root("with cgroups that the container made below: they go too", () => {
    const before = inventory();
    const { id } = startContainer(sleepingBundle());
    for (const group of groups(id)) {
      // On v2 a cgroup with processes may have children as long as it hands on no controller.
      mkdirSync(join(group, "a/b/c"), { recursive: true });
    }
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });

  root("removed by somebody else before: nothing is missed", () => {
    const before = inventory();
    const { id } = createContainer(sleepingBundle());
    process.kill(stateOf(id)?.pid as number, "SIGKILL");
    spawnSync("sh", [
      "-c",
      `for i in 1 2 3 4 5 6 7 8 9 10; do rmdir ${groups(id).join(" ")} && break; sleep 0.1; done`,
    ]);
    expect(stateOf(id)?.status).toBe("stopped");
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });

  root(
    "that becomes read-only: it is told truly and ended, what cannot be removed is named, and goes later",
    async () => {
      const before = inventory();
      const { id } = startContainer(sleepingBundle());
      const script = `for m in $(awk '/ - cgroup2? /{print $5}' /proc/self/mountinfo); do mount -o remount,bind,ro $m; done; exec "$@"`;
      const there = (...args: string[]) =>
        run(["--mount", "sh", "-c", script, "sh", RUNTIME, ...args], { runtime: "unshare" });
      const refused = { code: 1, stderr: expect.stringMatching(/EROFS \(Read-only file system\)/) };
      expect(there("create", "-b", makeBundle().path, newId())).toMatchObject(refused);
      expect(JSON.parse(there("state", id).stdout).status).toBe("running");
      expect(there("list", "-q").stdout).toContain(id);
      expect(there("update", "--pids-limit", "10", id)).toMatchObject(refused);
      const removed = there("delete", "--force", id);
      expect(removed).toMatchObject(refused);
      expect(removed.stderr).toMatch(/^tsrun: delete .*rmdir/);
      expect(stateOf(id)?.status).toBe("stopped");
      runOk(["delete", "--force", id]);
      expectNothingLeft(before);
    },
  );

  function freeze(paths: string[]): void {
    for (const path of paths) {
      for (const [file, value] of [
        ["freezer.state", "FROZEN"],
        ["cgroup.freeze", "1"],
      ] as const) {
        if (existsSync(join(path, file))) writeFileSync(join(path, file), value);
      }
    }
  }
});

describe("systemd", () => {
  const CALL = ["--systemd-cgroup", "run", "-b"];
  /** The runtime where the sockets of systemd and of the bus are those of `directory`. */
  const withSockets = (directory: string, id: string) => {
    const hide = 'for d in systemd dbus; do mkdir -p /run/$d; mount --bind "$1" /run/$d; done; shift; exec "$@"';
    const args = ["--mount", "sh", "-c", hide, "sh", directory, RUNTIME, ...CALL, makeBundle().path, id];
    return run(args, { runtime: "unshare", timeoutMs: 60_000 });
  };

  root("that is not there: said so, and nothing left", () => {
    const before = inventory();
    const result = withSockets(scratch("absent"), newId());
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("no systemd is to be reached") });
    expect(result.stderr).toContain("leave out --systemd-cgroup");
    expectNothingLeft(before);
  });

  root(
    "that never answers: said so in bounded time, and nothing left",
    async () => {
      const before = inventory();
      const directory = scratch("silent");
      const server = createServer().listen(join(directory, "private"));
      await once(server, "listening");
      try {
        const began = Date.now();
        const result = withSockets(directory, newId());
        expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("systemd does not answer") });
        // Half a minute until it is taken to hang, and not once more for what is undone.
        expect(Date.now() - began).toBeLessThan(45_000);
      } finally {
        server.close();
      }
      expectNothingLeft(before);
    },
    90_000,
  );
});

describe("what is not well", () => {
  root("states of all kinds beside each other: list names those that are whole, and does not hang on the rest", () => {
    const before = inventory();
    const root = scratch("states");
    const id = newId();
    expect(runDetached(["--root", root, "run", "-d", "-b", sleepingBundle().path, id]).code).toBe(0);
    const odd = (name: string) => join(root, `odd-${name}`);
    for (const name of ["empty", "fifo", "directory", "damaged", "socket"]) mkdirSync(odd(name));
    spawnSync("mkfifo", [join(odd("fifo"), "state.json")]);
    mkdirSync(join(odd("directory"), "state.json"));
    writeFileSync(join(odd("damaged"), "state.json"), '{"version":1,"pid":');
    writeFileSync(odd("file"), "x");
    spawnSync("mkfifo", [odd("pipe")]);
    const began = Date.now();
    expect(runOk(["--root", root, "list", "-q"])).toBe(`${id}\n`);
    for (const name of ["empty", "fifo", "directory", "damaged", "socket", "file", "pipe"]) {
      const { code, signal, stderr } = run(["--root", root, "state", `odd-${name}`], { timeoutMs: 5000 });
      expect({ name, code, signal }).toEqual({ name, code: 1, signal: null });
      expect(stderr).toMatch(/^tsrun: (?!.*internal error)/);
    }
    expect(Date.now() - began).toBeLessThan(20_000);
    runOk(["--root", root, "delete", "--force", id]);
    expectNothingLeft(before);
  });
});
