/** A container with a terminal: `run` at a terminal of the caller's, and a console socket for those who detach. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { POLLIN, SOCK_STREAM } from "../../src/sys/constants.ts";
import { closeQuiet, write } from "../../src/sys/file.ts";
import { ioctl, isTerminal, pidfdSendSignal, pollFd } from "../../src/sys/process.ts";
import { accept, recvMessage, unixListen } from "../../src/sys/socket.ts";
import { makeBundle } from "../helpers/bundle.ts";
import { consoleOf, readUntil } from "../helpers/console.ts";
import { runDetached, sleepingBundle, startContainer } from "../helpers/container.ts";
import { makePty } from "../helpers/monitor.ts";
import { needs } from "../helpers/needs.ts";
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

const root = needs({ root: true, commands: ["script"] });
const own = needs({ root: true, tsrun: true, commands: ["script"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Runs a shell script at a terminal of its own; what it writes there, without the end of input that `script` types. */
function atTerminal(script: string, input = ""): { code: number; output: string } {
  const file = join(scratch("script"), "script.sh");
  writeFileSync(file, `stty rows 33 cols 101\nR=${RUNTIME}\n${script}\n`);
  const result = spawnSync("script", ["--quiet", "--return", "--command", `sh ${file}`, "/dev/null"], {
    input,
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: result.status ?? -1, output: result.stdout.replaceAll(/\r|\^@/g, "") };
}

/** ioctl_tty(2) TIOCSWINSZ. */
function setSize(fd: number, rows: number, columns: number): void {
  ioctl(fd, 0x5414, new Uint8Array(new Uint16Array([rows, columns, 0, 0]).buffer));
}

const terminalBundle = (script: string) => makeBundle({ args: ["sh", "-c", script], terminal: true });

describe("run at a terminal", () => {
  root("the process has a terminal, of the caller's size, which controls it", () => {
    const bundle = terminalBundle(
      "tty; stty size; cat /proc/self/stat | cut -d' ' -f7; ls -l /proc/self/fd/1; : > /dev/tty && echo tty",
    );
    const { code, output } = atTerminal(`$R run -b ${bundle.path} ${newId()}`);
    expect(code).toBe(0);
    const lines = output.trim().split("\n");
    expect(lines[0]).toMatch(/^\/dev\/(pts\/0|console)$/);
    expect(lines[1]).toBe("33 101");
    // A controlling terminal has a number other than 0; this one is pts 0 of the container (major 136).
    expect(Number(lines[2])).toBe(136 << 8);
    expect(lines.at(-1)).toBe("tty");
  });

  root("/dev/console is the same terminal", () => {
    const bundle = terminalBundle("echo to-console > /dev/console; [ -c /dev/console ] && echo device");
    const { output } = atTerminal(`$R run -b ${bundle.path} ${newId()}`);
    expect(output).toContain("to-console");
    expect(output).toContain("device");
  });

  root("what is typed reaches the process, and control characters its own terminal", () => {
    const bundle = terminalBundle("read line; echo got:$line");
    const { output } = atTerminal(`$R run -b ${bundle.path} ${newId()}`, "typed\n");
    expect(output).toContain("got:typed");
  });

  root("the exit code comes through", () => {
    expect(atTerminal(`$R run -b ${terminalBundle("exit 23").path} ${newId()}`).code).toBe(23);
  });

  root("the caller's terminal is as it was, however the process ended", () => {
    for (const script of ["true", "stty -echo raw; exit 3", "kill -KILL $$"]) {
      const { output } = atTerminal(
        `stty -g > before; $R run -b ${terminalBundle(script).path} ${newId()}; stty -g > after; cmp before after && echo same`.replaceAll(
          /before|after/g,
          (name) => join(state, name),
        ),
      );
      expect(output, script).toContain("same");
    }
  });

  root("a lot of output arrives whole", () => {
    const bundle = terminalBundle("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; echo the end");
    const lines = atTerminal(`$R run -b ${bundle.path} ${newId()}`).output.trim().split("\n");
    expect(lines).toHaveLength(5001);
    expect(lines.at(-1)).toBe("the end");
    expect(lines[4999]).toBe("line 4999");
  });

  root("a change of the window's size reaches the process", () => {
    const shared = scratch("shared");
    chmodSync(shared, 0o777);
    const script =
      "trap 'stty size; exit 0' WINCH; : > /shared/ready; i=0; while [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done; exit 1";
    const bundle = makeBundle({
      args: ["sh", "-c", script],
      terminal: true,
      mounts: [{ destination: "/shared", source: shared, options: ["bind"] }],
    });
    // Until the monitor waits for it, a change is lost: the size is changed more than once.
    const { code, output } = atTerminal(
      `( until [ -e ${shared}/ready ]; do sleep 0.05; done
         for rows in 50 51 50 51 50 51 50 51; do stty rows $rows cols 120 < /dev/tty; sleep 0.2; done ) 2> /dev/null &
       $R run -b ${bundle.path} ${newId()}`,
    );
    expect(code).toBe(0);
    expect(output).toMatch(/5[01] 120/);
  });

  own("a signal to the runtime is enough for that: whoever gave it the terminal has changed its size", async () => {
    const outer = makePty();
    try {
      setSize(outer.slave, 20, 70);
      const bundle = terminalBundle("trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.05; done");
      const stdio = [outer.slave, outer.slave, outer.slave] as ["inherit" | number, number, number];
      const started = spawn(["run", "-b", bundle.path, newId()], { stdio });
      readUntil(outer.master, "20 70");
      // Nobody's controlling terminal: the kernel tells nobody of this.
      setSize(outer.slave, 44, 133);
      started.child.kill("SIGWINCH");
      readUntil(outer.master, "44 133");
      expect((await started.exit).code).toBe(0);
    } finally {
      for (const fd of [outer.master, outer.slave]) closeQuiet(fd);
    }
  });

  root("a key that interrupts does so in the container, not outside", () => {
    const shared = scratch("shared");
    chmodSync(shared, 0o777);
    // That the line has come through the terminals shows that run passes keys on.
    const script = "trap 'echo interrupted; exit 4' INT; read line; : > /shared/ready; while :; do sleep 0.05; done";
    const bundle = makeBundle({
      args: ["sh", "-c", script],
      terminal: true,
      mounts: [{ destination: "/shared", source: shared, options: ["bind"] }],
    });
    const { code, output } = atTerminal(
      `(echo; until [ -e ${shared}/ready ]; do sleep 0.05; done; printf '\\003') |
       script --quiet --return --command '${RUNTIME} run -b ${bundle.path} ${newId()}' /dev/null`,
    );
    expect(output).toContain("interrupted");
    expect(code).toBe(4);
  });

  root("consoleSize is the first size where there is no terminal to ask", () => {
    const bundle = terminalBundle("stty size");
    bundle.edit((spec) => {
      spec.process.consoleSize = { height: 12, width: 34 };
    });
    const { fd } = consoleOf((socket) => ["run", "-d", "--console-socket", socket, "-b", bundle.path, newId()]);
    expect(readUntil(fd, "\n")).toContain("12 34");
    closeQuiet(fd);
  });

  own("the terminal belongs to the user of the process", () => {
    const bundle = terminalBundle("stat -L -c '%u %g' /proc/self/fd/0");
    bundle.edit((spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
    });
    expect(atTerminal(`$R run -b ${bundle.path} ${newId()}`).output.trim()).toMatch(/^1000 \d+$/);
  });

  own("a detached container with a terminal needs a console socket", () => {
    for (const verb of [["create"], ["run", "-d"]]) {
      const result = run([...verb, "-b", terminalBundle("true").path, newId()]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain("cannot allocate tty if tsrun will detach without setting console socket");
    }
  });

  own("a console socket for a container without a terminal is refused", () => {
    const result = run(["create", "--console-socket", "/tmp/none", "-b", makeBundle().path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("cannot use console socket if tsrun will not detach or allocate tty");
  });

  own("an image without /dev/pts says what is missing", () => {
    const bundle = terminalBundle("true");
    bundle.edit((spec) => {
      spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/dev/pts");
    });
    const { code, output } = atTerminal(`$R run -b ${bundle.path} ${newId()}`);
    expect(code).toBe(1);
    expect(output).toContain("process.terminal");
  });
});

describe("run in the background of a shell at a terminal", () => {
  const bash = needs({ root: true, tsrun: true, commands: ["script", "bash"] });

  bash("leaves the terminal alone, and has it once it is in the foreground: a job that runs is not told", () => {
    const bundle = terminalBundle("read line; echo got:$line; stty size; exit 7");
    const { code, output } = atTerminal(
      `exec bash -c 'set -m
        '$R' run -b ${bundle.path} ${newId()} &
        until grep -q tsrun-monitor /proc/$!/cmdline; do :; done
        '$R' list > /dev/null
        stty -a | grep -ow -- "-*icanon"
        stty rows 44 cols 99
        fg > /dev/null'`,
      "typed\n",
    );
    expect(output).toMatch(/^icanon$/m);
    expect(output).toMatch(/^got:typed\n44 99$/m);
    expect(code).toBe(7);
  });
});

let state: string;
beforeAll(() => {
  state = scratch("state");
});

describe("console socket", () => {
  root("receives the master of the container's terminal, and a name with it", () => {
    const id = newId();
    const bundle = terminalBundle("echo hello; read line; echo got:$line; sleep 3600");
    const { fd, name } = consoleOf((socket) => ["create", "--console-socket", socket, "-b", bundle.path, id]);
    expect(isTerminal(fd)).toBe(true);
    expect(name.length).toBeGreaterThan(0);
    runOk(["start", id]);
    expect(readUntil(fd, "hello")).toContain("hello");
    write(fd, "typed\n");
    expect(readUntil(fd, "got:typed")).toContain("got:typed");
    closeQuiet(fd);
    runOk(["delete", "--force", id]);
  });

  own("may have a path longer than a socket's name", () => {
    const bundle = terminalBundle("echo long; sleep 3600");
    const id = newId();
    const dir = join(scratch(), "d".repeat(150));
    const { fd } = consoleOf((socket) => ["run", "-d", "--console-socket", socket, "-b", bundle.path, id], dir);
    expect(readUntil(fd, "long")).toContain("long");
    closeQuiet(fd);
    runOk(["delete", "--force", id]);
  });

  own("nobody listening there fails, by name, and nothing is left", () => {
    const id = newId();
    const socket = join(scratch(), "nobody.sock");
    const result = run(["create", "--console-socket", socket, "-b", terminalBundle("true").path, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(socket);
    expect(stateOf(id)).toBeUndefined();
    expect(existsSync(socket)).toBe(false);
  });

  own("who begins to listen a moment after the runtime has begun is in time, as under runc", async () => {
    const id = newId();
    const socket = join(scratch(), "late.sock");
    const args = ["create", "--console-socket", socket, "-b", terminalBundle("sleep 3600").path, id];
    const created = spawn(args, { stdio: ["ignore", "ignore", "pipe"] });
    await until(() => existsSync(`/run/tsrun/${id}/state.json`), "the container is being made");
    // The runtime has nothing else to do any more than to wait for this.
    await setTimeout(150);
    const listener = unixListen(socket, { type: SOCK_STREAM });
    expect(pollFd(listener, POLLIN, 10_000)).toBe(POLLIN);
    const connection = accept(listener);
    const [fd = -1] = recvMessage(connection).fds;
    expect(isTerminal(fd)).toBe(true);
    expect(await created.exit).toMatchObject({ code: 0, stderr: "" });
    for (const one of [fd, connection, listener]) closeQuiet(one);
    runOk(["delete", "--force", id]);
  });

  root("the end of the process closes the terminal", () => {
    const { fd } = consoleOf((socket) => [
      "run",
      "-d",
      "--console-socket",
      socket,
      "-b",
      terminalBundle("true").path,
      newId(),
    ]);
    expect(readUntil(fd, "never")).not.toContain("never");
    closeQuiet(fd);
  });
});

describe("exec with a terminal", () => {
  root("--tty gives the process one of the container's, of the caller's size", () => {
    const { id } = startContainer(sleepingBundle());
    const { code, output } = atTerminal(`$R exec -t ${id} sh -c 'tty; stty size; exit 6'`);
    expect(output.trim().split("\n")).toEqual([expect.stringMatching(/^\/dev\/pts\/\d$/), "33 101"]);
    expect(code).toBe(6);
    runOk(["delete", "--force", id]);
  });

  root("detached, its master goes to a console socket", () => {
    const { id } = startContainer(sleepingBundle());
    const { fd } = consoleOf((socket) => ["exec", "-d", "-t", "--console-socket", socket, id, "echo", "over there"]);
    expect(readUntil(fd, "over there")).toContain("over there");
    closeQuiet(fd);
    runOk(["delete", "--force", id]);
  });
});

describe("--pidfd-socket", () => {
  /** What the runtime sends while it carries this out: a pidfd, by the pid that it is for. */
  function pidfdOf(args: (socket: string) => string[], dir = scratch()): { fd: number; pid: number; close(): void } {
    const path = join(dir, "pidfd.sock");
    const listener = unixListen(path, { type: SOCK_STREAM });
    expect(runDetached(args(path)).code).toBe(0);
    const connection = accept(listener);
    const [fd = -1] = recvMessage(connection).fds;
    const pid = Number(/^Pid:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1]);
    return { fd, pid, close: () => [fd, connection, listener].forEach(closeQuiet) };
  }

  own("receives a pidfd of the process, from run, create and exec", () => {
    const id = newId();
    const ran = pidfdOf((socket) => ["run", "-d", "--pidfd-socket", socket, "-b", sleepingBundle().path, id]);
    expect(ran.pid).toBe(stateOf(id)?.pid);
    const exec = pidfdOf((socket) => ["exec", "-d", "--pidfd-socket", socket, id, "sleep", "3700"]);
    expect(exec.pid).not.toBe(ran.pid);
    expect(JSON.parse(runOk(["ps", "--format", "json", id]))).toContain(exec.pid);
    pidfdSendSignal(ran.fd, 9);
    const other = newId();
    const made = pidfdOf((socket) => ["create", "--pidfd-socket", socket, "-b", sleepingBundle().path, other]);
    expect(made.pid).toBe(stateOf(other)?.pid);
    for (const { close } of [ran, exec, made]) close();
    for (const one of [id, other]) runOk(["delete", "--force", one]);
  });

  own("may be named by crun's annotation, and the flag wins", () => {
    const id = newId();
    const named = (path: string) =>
      sleepingBundle({ edit: (spec) => (spec.annotations = { "run.oci.pidfd_receiver": path }) }).path;
    const ran = pidfdOf((socket) => ["run", "-d", "-b", named(socket), id]);
    expect(ran.pid).toBe(stateOf(id)?.pid);
    const other = newId();
    const flag = pidfdOf((socket) => ["run", "-d", "--pidfd-socket", socket, "-b", named("/nowhere"), other]);
    expect(flag.pid).toBe(stateOf(other)?.pid);
    for (const { close } of [ran, flag]) close();
    for (const one of [id, other]) runOk(["delete", "--force", one]);
  });

  own("may have a path longer than a socket's name", () => {
    const dir = join(scratch(), "d".repeat(120));
    mkdirSync(dir);
    const id = newId();
    const ran = pidfdOf((socket) => ["run", "-d", "--pidfd-socket", socket, "-b", sleepingBundle().path, id], dir);
    expect(ran.pid).toBe(stateOf(id)?.pid);
    ran.close();
    runOk(["delete", "--force", id]);
  });
});
