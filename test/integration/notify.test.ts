/** A container tells whoever waits for it that it is ready, as a service of systemd does. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type BundleRequest, makeBundle } from "../helpers/bundle.ts";
import { createContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { OrdinaryUser, UID } from "../helpers/ordinary-user.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";
import { ServiceManager } from "../helpers/service-manager.ts";

const root = needs({ root: true, commands: ["perl"] });
const own = needs({ root: true, tsrun: true, commands: ["perl"] });
const rootless = needs({ root: true, tsrun: true, commands: ["perl", "setpriv", "unshare"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Says each of its arguments, as sd_notify(3) does, and prints what came of it. Busybox has nothing for such sockets. */
const SAY = `#!/usr/bin/perl
use Socket;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0);
print send($socket, $_, 0, sockaddr_un($ENV{NOTIFY_SOCKET})) ? "said\\n" : "$!\\n" for @ARGV;
`;

/** A bundle with a program `say`, for messages to whoever waits, and the machine's perl. */
function bundle(script: string, request: BundleRequest = {}) {
  const mounts = ["/usr", "/lib", "/lib64"]
    .filter((path) => existsSync(path))
    .map((path) => ({ destination: path, source: path, options: ["rbind", "ro"] }));
  const made = makeBundle({ ...request, mounts, args: ["sh", "-c", script] });
  writeFileSync(join(made.rootfs, "say"), SAY, { mode: 0o755 });
  return made;
}

const READY = `/say "$(printf 'STATUS=up\\nREADY=1\\nMAINPID=1')"`;

/** What is said of a container that is ready: its process as we see it, unless we wait for it, and a barrier behind. */
function expectReady(manager: ServiceManager, pid?: number): void {
  const said = manager.next();
  const main = pid === undefined ? [] : [`MAINPID=${pid}`];
  expect(said.text.split("\n").filter((line) => line !== "")).toEqual(["READY=1", ...main]);
  expect(said.fds).toBe(0);
  expect(manager.next()).toEqual({ text: "BARRIER=1", fds: 1 });
  expect(manager.isQuiet()).toBe(true);
}

describe("readiness", () => {
  own("run in the foreground passes it on while the container runs", async () => {
    using manager = new ServiceManager();
    const id = newId();
    const made = bundle(`/say STATUS=starting; ${READY}; read line`);
    const started = spawn(["run", "-b", made.path, id], { env: { ...process.env, ...manager.env } });
    // Running is what the state says by the time the process can have said anything.
    await started.waitFor("said\nsaid");
    expectReady(manager);
    started.child.stdin?.end("\n");
    expect((await started.exit).code).toBe(0);
    expect(stateOf(id)).toBeUndefined();
  });

  own("a container that is ready and ends at once has been heard", async () => {
    using manager = new ServiceManager();
    const made = bundle(`${READY}; exit 7`);
    const started = spawn(["run", "-b", made.path, newId()], { env: { ...process.env, ...manager.env } });
    expect(manager.next().text).toBe("READY=1\n");
    expect(manager.next().text).toBe("BARRIER=1");
    expect((await started.exit).code).toBe(7);
  });

  own("who says more than that it is ready is refused, and not held up", async () => {
    using manager = new ServiceManager();
    const made = bundle(`${READY}; read line; /say ${"WATCHDOG=1 ".repeat(40)}`);
    const id = newId();
    const started = spawn(["run", "-b", made.path, id], { env: { ...process.env, ...manager.env } });
    await started.waitFor("said");
    expectReady(manager);
    started.child.stdin?.end("\n");
    const { code, stdout } = await started.exit;
    expect(code).toBe(0);
    expect(stdout).toMatch(/Connection refused\n$/);
    expect(manager.isQuiet()).toBe(true);
  });

  root("run -d returns when the container is ready", async () => {
    using manager = new ServiceManager();
    const id = newId();
    const made = bundle(`while [ ! -e /go ]; do sleep 0.02; done; ${READY}; sleep 3600`);
    const stdio = ["ignore", "ignore", "inherit"] as const;
    const started = spawn(["run", "-d", "-b", made.path, id], {
      env: { ...process.env, ...manager.env },
      stdio: [...stdio],
    });
    await until(() => stateOf(id)?.status === "running", "the container runs");
    expect(manager.isQuiet()).toBe(true);
    expect(started.child.exitCode).toBeNull();
    writeFileSync(join(made.rootfs, "go"), "");
    await until(() => !manager.isQuiet(), "the container is ready");
    expectReady(manager, stateOf(id)?.pid);
    expect((await started.exit).code).toBe(0);
  });

  root("create prepares it, start returns when the container is ready", async () => {
    using manager = new ServiceManager();
    const options = { env: manager.env };
    const container = createContainer(bundle(`id -u; ls -A /run/notify; ${READY}; sleep 3600`), [], options);
    expect(manager.isQuiet()).toBe(true);
    const starting = spawn(["start", container.id], { env: { ...process.env, ...manager.env } });
    expectReady(manager, stateOf(container.id)?.pid);
    expect((await starting.exit).code).toBe(0);
    await container.waitFor("said\n");
    expect(container.stdout()).toBe("0\nnotify.sock\nsaid\n");
  });

  own("start returns when a container ends that never was ready, and lets others at it meanwhile", async () => {
    using manager = new ServiceManager();
    const container = createContainer(bundle("sleep 3600"), [], { env: manager.env });
    const starting = spawn(["start", container.id], { env: { ...process.env, ...manager.env } });
    await until(() => stateOf(container.id)?.status === "running", "the container runs");
    expect(run(["delete", "--force", container.id]).code).toBe(0);
    expect((await starting.exit).code).toBe(0);
    expect(manager.isQuiet()).toBe(true);
  });

  own("a container that nobody waits for any more when it is ready runs on, with a warning", async () => {
    const manager = new ServiceManager();
    const made = bundle(`while [ ! -e /go ]; do sleep 0.02; done; ${READY}; sleep 3600`);
    const container = createContainer(made, [], { env: manager.env });
    const starting = spawn(["start", container.id], { env: { ...process.env, ...manager.env } });
    await until(() => stateOf(container.id)?.status === "running", "the container runs");
    manager[Symbol.dispose]();
    writeFileSync(join(made.rootfs, "go"), "");
    const { code, stderr } = await starting.exit;
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^tsrun: warning: NOTIFY_SOCKET: nobody/),
    });
    expect(stateOf(container.id)?.status).toBe("running");
    runOk(["delete", "--force", container.id]);
  });

  root("another user of the container may say so", async () => {
    using manager = new ServiceManager();
    const edit: BundleRequest["edit"] = (spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
    };
    const started = spawn(["run", "-b", bundle(READY, { edit }).path, newId()], {
      env: { ...process.env, ...manager.env },
    });
    expect(manager.next().text).toMatch(/^READY=1\n/);
    manager.next();
    expect((await started.exit).code).toBe(0);
  });

  own("root of a user namespace may, though the state is closed to it, and changes nothing there", async () => {
    using manager = new ServiceManager();
    const edit: BundleRequest["edit"] = (spec) => {
      spec.linux.namespaces?.push({ type: "user" });
      spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
    };
    const script = `${READY}; touch /run/notify/x || mount -o remount,rw,bind /run/notify || echo closed`;
    const made = bundle(script, { edit });
    // For the mount points that are made in it.
    execFileSync("chown", ["-R", "100000:100000", made.rootfs]);
    const started = spawn(["run", "-b", made.path, newId()], { env: { ...process.env, ...manager.env } });
    expect(manager.next().text).toMatch(/^READY=1\n/);
    manager.next();
    expect(await started.exit).toMatchObject({ code: 0, stdout: "said\nclosed\n" });
  });

  rootless("a container of an ordinary user may as well", () => {
    const user = new OrdinaryUser();
    const made = bundle(READY, {
      rootless: true,
      edit: (spec) => {
        spec.linux.uidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      },
    });
    user.give(made.path);
    const socket = join(user.home, "notify.sock");
    const listen = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); bind($s, sockaddr_un(shift));
      for (1 .. 2) { recv($s, my $said, 4096, 0); print "$said|" }`;
    const { stdout, stderr, status } = user.run(`perl -e '${listen}' ${socket} & until [ -S ${socket} ]; do :; done
      NOTIFY_SOCKET=${socket} $R run -b ${made.path} ${newId()} && wait`);
    expect(stderr).toBe("");
    expect(stdout).toContain("said\n");
    expect(stdout).toMatch(/READY=1\n\|BARRIER=1\|/);
    expect(status).toBe(0);
  });

  own("an abstract address, as @name, is one too", async () => {
    const name = newId();
    const result = run(["run", "-b", bundle(`echo $NOTIFY_SOCKET; ${READY}`).path, newId()], {
      env: { NOTIFY_SOCKET: `@${name}` },
    });
    // Nobody has that name here; that it is looked for by name and not as a file is what the message says.
    expect(result.code).toBe(0);
    expect(result.stderr).toContain(`connect @${name}: ECONNREFUSED`);
  });

  own("nobody at the socket, or a container made without: a warning, and it runs", () => {
    const socket = join(scratch("nobody"), "s");
    const alone = run(["run", "-b", bundle("true").path, newId()], { env: { NOTIFY_SOCKET: socket } });
    expect(alone.code).toBe(0);
    expect(alone.stderr).toContain(
      `tsrun: warning: NOTIFY_SOCKET: nobody will be told that the container is ready: connect ${socket}: ENOENT`,
    );
    using manager = new ServiceManager();
    const container = createContainer(bundle("sleep 3600"));
    const started = run(["start", container.id], { env: manager.env });
    expect(started.code).toBe(0);
    expect(started.stderr).toContain("NOTIFY_SOCKET was not set when container");
  });

  root("without NOTIFY_SOCKET the container has neither variable nor directory", () => {
    const { NOTIFY_SOCKET: _, ...env } = process.env;
    const made = bundle("echo $NOTIFY_SOCKET; ls -A /run");
    expect(run(["run", "-b", made.path, newId()], { env: env as Record<string, string> }).stdout).toBe("\n");
  });

  own("an own NOTIFY_SOCKET of the config gives way", async () => {
    using manager = new ServiceManager();
    const made = bundle(`echo $NOTIFY_SOCKET; ${READY}`);
    made.edit((spec) => spec.process.env?.push("NOTIFY_SOCKET=/elsewhere"));
    const started = spawn(["run", "-b", made.path, newId()], { env: { ...process.env, ...manager.env } });
    manager.next();
    manager.next();
    expect((await started.exit).stdout).toBe("/run/notify/notify.sock\nsaid\n");
  });
});

describe("a unit of systemd", () => {
  const unit = needs({ root: true, tsrun: true, systemd: true, commands: ["perl", "systemd-run"] });
  const systemctl = (...args: string[]) => spawnSync("systemctl", args, { encoding: "utf8" }).stdout.trim();
  const property = (name: string, of: string) => systemctl("show", "--value", "--property", name, of);

  /** Starts a unit of Type=notify; systemd-run returns when it is active, or has failed. */
  function startUnit(name: string, args: string[]): number | null {
    const flags = ["--unit", name, "--property", "Type=notify", "--property", "TimeoutStartSec=120"];
    return spawnSync("systemd-run", [...flags, RUNTIME, ...args], { stdio: "inherit", timeout: 300_000 }).status;
  }

  for (const how of ["run", "run -d"]) {
    unit(`of ${how} is active when the container is ready, and ends with its exit code`, async () => {
      const id = newId();
      const made = bundle(`trap 'exit 7' TERM; ${READY}; while :; do sleep 0.1; done`);
      expect(startUnit(id, [...how.split(" "), "-b", made.path, id])).toBe(0);
      expect(property("ActiveState", id)).toBe("active");
      if (how === "run -d") expect(property("MainPID", id)).toBe(String(stateOf(id)?.pid));
      runOk(["kill", id, "TERM"]);
      await until(() => property("ActiveState", id) !== "active", "the unit ends");
      expect(property("ExecMainStatus", id)).toBe("7");
      systemctl("reset-failed", id);
    });
  }
});
