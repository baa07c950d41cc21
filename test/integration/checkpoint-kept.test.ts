/** What criu refuses unless it is asked for: locks, sockets, connections; and whose the orphans of a restore are. */
import { spawn as nodeSpawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type BundleRequest, busyboxRootfs } from "../helpers/bundle.ts";
import { COUNT, checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const criu = needs({ root: true, tsrun: true, criu: true });
const perl = needs({ root: true, tsrun: true, criu: true, files: ["/usr/bin/perl", "/usr/lib64"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Busybox, and perl by the host's /usr: a script runs beside the counter. */
const withPerl = (script: string, request: BundleRequest = {}) =>
  counting({
    args: ["sh", "-c", `perl -e '${script}' & until [ -e /tmp/ready ]; do sleep 0.1; done; ${COUNT}`],
    env: ["PATH=/bin:/usr/bin"],
    rootfs: (path) => {
      busyboxRootfs(path);
      for (const name of ["lib", "lib64"])
        if (!existsSync(join(path, name))) symlinkSync(`usr/${name}`, join(path, name));
    },
    ...request,
    mounts: [{ destination: "/usr", source: "/usr", options: ["bind", "ro"] }, ...(request.mounts ?? [])],
  });

const READY = "open R, q(>), q(/tmp/ready); close R;";

/** Fails for a reason that names the flag, and leaves the container as it was. */
function refused(id: string, reason: string): void {
  const result = run(["checkpoint", "--image-path", scratch("refused"), id], { timeoutMs: 60_000 });
  expect(result.code).toBe(1);
  expect(result.stderr).toContain(reason);
  expect(stateOf(id)?.status).toBe("running");
}

describe("--file-locks", () => {
  perl(
    "locks are refused, kept, or left out by restore",
    async () => {
      const bundle = withPerl(`open F, q(>), q(/tmp/lock); flock F, 2 or die; ${READY} sleep 1 while 1`);
      const id = started(bundle);
      const was = await counted(id);
      const isLocked = () =>
        runOk(["exec", id, "perl", "-e", 'open F, ">>", "/tmp/lock"; print flock(F, 6) ? 0 : 1']) === "1";
      expect(isLocked()).toBe(true);
      refused(id, "file-locks");
      const images = scratch("images");
      checkpoint(id, images, ["--file-locks"]);
      for (const flags of [["--file-locks"], []]) {
        restored(bundle, images, id, flags);
        expect((await counted(id, was.count + 1)).name).toBe(was.name);
        expect(isLocked(), flags.join()).toBe(flags.length > 0);
        runOk(["delete", "--force", id]);
      }
    },
    LONG,
  );
});

describe("--ext-unix-sk", () => {
  perl(
    "a socket whose other end is outside is refused, or connected again",
    async () => {
      const outside = scratch("outside");
      const heard = join(outside, "heard");
      writeFileSync(heard, "");
      const listen = `use Socket; $| = 1; socket S, AF_UNIX, SOCK_DGRAM, 0; bind S, pack_sockaddr_un("$ARGV[0]/socket") or die;
        while (defined recv S, my $text, 99, 0) { open H, ">", "$ARGV[0]/heard"; print H $text; close H }`;
      const listener = nodeSpawn("perl", ["-e", listen, outside], { stdio: ["ignore", "ignore", "inherit"] });
      const ended = once(listener, "exit");
      await until(() => existsSync(join(outside, "socket")), "somebody listens");
      const talk = `use Socket; socket S, AF_UNIX, SOCK_DGRAM, 0; connect S, pack_sockaddr_un(q(${outside}/socket)) or die;
        ${READY} while (1) { send S, ++$n, 0; select undef, undef, undef, 0.1 }`;
      const bundle = withPerl(talk, {
        // criu connects to the path that the other end has bound.
        mounts: [{ destination: outside, source: outside, options: ["bind"] }],
        // criu sees the other end only in the network namespace that it dumps.
        edit: (spec) => {
          spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "network");
        },
      });
      const id = started(bundle);
      const said = () => Number(readFileSync(heard, "utf8"));
      await until(() => said() > 2, "it is heard");
      refused(id, "ext-unix-sk");
      const images = scratch("images");
      checkpoint(id, images, ["--ext-unix-sk"]);
      const last = said();
      restored(bundle, images, id, ["--ext-unix-sk"]);
      await until(() => said() > last, "it is heard again, with the next number");
      runOk(["delete", "--force", id]);
      listener.kill();
      await ended;
    },
    LONG,
  );
});

describe("--tcp-skip-in-flight", () => {
  perl(
    "a connection that nobody has accepted is refused, or left out",
    async () => {
      const there = "pack_sockaddr_in(99, INADDR_LOOPBACK)";
      const server = `socket S, PF_INET, SOCK_STREAM, 6; bind S, ${there} or die; listen S, 5;`;
      const client = `socket C, PF_INET, SOCK_STREAM, 6; connect C, ${there} or die; close C;`;
      const bundle = withPerl(`use Socket; ${server} ${client} ${READY} sleep 1 while 1`);
      const id = started(bundle);
      const was = await counted(id);
      refused(id, "In-flight connection");
      const images = scratch("images");
      checkpoint(id, images, ["--tcp-skip-in-flight"]);
      restored(bundle, images, id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(runOk(["exec", id, "netstat", "-tln"])).toContain(":99");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("restore --no-subreaper", () => {
  perl(
    "orphans go to whoever reaps them above, not to tsrun",
    async () => {
      // One process alone, whose pid is free again when its monitor has ended.
      const told = "open O, q(>), q(/tmp/orphan); print O $orphan; close O; exit";
      const fork = `unless (fork) { my $orphan = fork; if ($orphan) { ${told} } sleep 600; exit }`;
      const bundle = withPerl("", {
        args: ["perl", "-e", `$SIG{USR1} = sub { ${fork} }; ${READY} sleep 1 while 1`],
        edit: (spec) => {
          spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
        },
      });
      for (const flags of [[], ["--no-subreaper"]]) {
        const id = newId();
        const [ready, file] = ["ready", "orphan"].map((name) => join(bundle.rootfs, "tmp", name)) as [string, string];
        for (const path of [ready, file]) rmSync(path, { force: true });
        const first = spawn(["run", "-b", bundle.path, id], { stdio: "ignore" });
        await until(() => existsSync(ready), "it runs");
        const images = scratch("images");
        checkpoint(id, images);
        await first.exit;
        const foreground = spawn(["restore", "-b", bundle.path, "--image-path", images, ...flags, id]);
        await until(() => stateOf(id)?.status === "running", "it is restored");
        runOk(["kill", id, "USR1"]);
        const said = () => (existsSync(file) ? readFileSync(file, "utf8") : "");
        await until(() => said() !== "", "there is an orphan");
        const status = () => readFileSync(`/proc/${said()}/status`, "utf8");
        const parent = () => Number(/^PPid:\s*(\d+)/m.exec(status())?.[1]);
        await until(() => readFileSync(`/proc/${parent()}/comm`, "utf8") !== "perl\n", "its parent has ended");
        if (flags.length === 0) expect(parent()).toBe(foreground.pid);
        else expect(parent()).not.toBe(foreground.pid);
        runOk(["kill", "--all", id, "KILL"]);
        expect((await foreground.exit).code).toBe(137);
      }
    },
    LONG,
  );
});

describe("a process that a signal has stopped", () => {
  criu(
    "is stopped when it is restored",
    async () => {
      const bundle = counting({ args: ["sh", "-c", `sleep 3600 & echo $! > /tmp/pid; kill -STOP $!; ${COUNT}`] });
      const id = started(bundle);
      const was = await counted(id);
      const state = () => runOk(["exec", id, "sh", "-c", "cut -d' ' -f3 /proc/$(cat /tmp/pid)/stat"]).trim();
      await until(() => state() === "T", "it is stopped");
      const images = scratch("images");
      if (cgroupLayout() !== "v2") {
        runOk(["pause", id]);
        const failed = run(["checkpoint", "--image-path", images, id], { timeoutMs: 60_000 });
        expect(failed.stderr).toContain("is stopped, and criu cannot trace it while it is frozen");
        runOk(["resume", id]);
      }
      checkpoint(id, images);
      restored(bundle, images, id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(state()).toBe("T");
      runOk(["exec", id, "sh", "-c", "kill -CONT $(cat /tmp/pid)"]);
      await until(() => state() === "S", "it goes on");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});
