import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { isErrno } from "../../../src/errors.ts";
import { RLIMITS } from "../../../src/linux.ts";
import * as k from "../../../src/sys/constants.ts";
import {
  addSeals,
  close,
  dup,
  Fd,
  isOpen,
  memfdCreate,
  open,
  readText,
  seek,
  setCloexec,
  write,
} from "../../../src/sys/file.ts";
import * as proc from "../../../src/sys/process.ts";
import { socketpair } from "../../../src/sys/socket.ts";
import { posixSpawn, type SpawnRequest } from "../../../src/sys/spawn.ts";

const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));

const shell = (script: string, more: Partial<SpawnRequest> = {}) =>
  posixSpawn({ path: "/bin/sh", argv: ["sh", "-c", script], envp: [], ...more });

/** What a script prints, and how it ended. */
function outputOf(script: string, { fds = [], ...more }: Partial<SpawnRequest> = {}) {
  using output = new Fd(memfdCreate("output"));
  const pid = shell(script, { fds: [{ from: output.fd, to: 1 }, ...fds], ...more });
  const status = proc.waitid({ pid });
  seek(output.fd, 0);
  return { text: readText(output.fd), status };
}

export const checks = {
  "a program's exit code comes back": () => {
    const pid = shell("exit 37");
    assert.deepEqual(proc.waitid({ pid }), { pid, kind: "exited", exitCode: 37, signal: 0, coreDumped: false });
    failsWith("ECHILD", () => proc.waitid({ pid }));
  },

  "a signal that ended it comes back, and 128 beside it": () => {
    const pid = shell("ulimit -c 0; kill -TERM $$");
    assert.deepEqual(proc.waitid({ pid }), { pid, kind: "signaled", exitCode: 143, signal: 15, coreDumped: false });
  },

  "a pidfd is waited for, polled and signalled": () => {
    const pid = shell("exec sleep 100");
    const pidFd = proc.pidfdOpen(pid);
    assert.equal(proc.waitid({ pidFd }, { noHang: true }), undefined);
    assert.equal(proc.pollFd(pidFd, k.POLLIN, 0), 0);
    proc.pidfdSendSignal(pidFd, 0);
    proc.pidfdSendSignal(pidFd, k.SIGNALS.SIGKILL ?? 0);
    assert.equal(proc.pollFd(pidFd, k.POLLIN, 10_000), k.POLLIN);
    assert.equal(proc.waitid({ pidFd }, { keep: true }).signal, 9);
    assert.equal(proc.waitid({ pidFd }).signal, 9);
    failsWith("ESRCH", () => proc.pidfdSendSignal(pidFd, 0));
    close(pidFd);
  },

  "kill never means a group or everybody": () => {
    for (const pid of [0, -1, -5, Number.NaN, 1.5]) failsWith("EINVAL", () => proc.kill(pid, 0));
    proc.kill(process.pid, 0);
  },

  "poll ends when its time is over": () => {
    const [one, other] = socketpair();
    const start = performance.now();
    assert.equal(proc.pollFd(one, k.POLLIN, 30), 0);
    assert.ok(performance.now() - start >= 29);
    write(other, "x");
    assert.deepEqual(
      proc.poll([
        { fd: one, events: k.POLLIN },
        { fd: other, events: k.POLLIN },
        { fd: -1, events: k.POLLIN },
      ]),
      [k.POLLIN, 0, 0],
    );
    close(other);
    assert.equal(proc.pollFd(one, k.POLLIN) & k.POLLHUP, k.POLLHUP);
    close(one);
  },

  "arguments and environment arrive as given, empty ones and none at all too": () => {
    assert.equal(
      outputOf('printf "%s|" "$@"', { argv: ["sh", "-c", 'printf "%s|" "$@"', "x", "", "ä b", ""] }).text,
      "|ä b||",
    );
    assert.equal(outputOf("cat /proc/$$/environ", { envp: ["A=1", "B=", "Ü=ü"] }).text, "A=1\0B=\0Ü=ü\0");
    assert.equal(outputOf("/bin/cat /proc/$$/environ").text, "");
  },

  "thousands of arguments arrive": () => {
    const many = Array.from({ length: 5000 }, (_, index) => `argument-${index}`);
    assert.equal(
      outputOf("", { argv: ["sh", "-c", 'echo $# "$1"; shift 4999; echo "$1"', "x", ...many] }).text,
      "5000 argument-0\nargument-4999\n",
    );
  },

  "an argument with a NUL byte is refused": () => {
    failsWith("EINVAL", () => shell("true", { argv: ["sh", "a\0b"] }));
    failsWith("EINVAL", () => shell("true", { envp: ["A=\0"] }));
    failsWith("EINVAL", () => shell("true", { cwd: "/tmp\0x" }));
  },

  "a program that is not there is an error of the spawn": () => {
    failsWith("ENOENT", () => posixSpawn({ path: "/nowhere/x", argv: ["x"], envp: [] }));
    failsWith("EACCES", () => posixSpawn({ path: "/etc/passwd", argv: ["x"], envp: [] }));
    failsWith("ENOENT", () => shell("true", { cwd: "/nowhere" }));
    failsWith("EBADF", () => shell("true", { fds: [{ from: 999, to: 5 }] }));
  },

  "descriptors trade places without one replacing the other": () => {
    const [a, b, c] = ["first", "second", "third"].map((text) => {
      const fd = memfdCreate(text);
      write(fd, text);
      seek(fd, 0);
      return fd;
    }) as [number, number, number];
    const fds = [
      { from: a, to: b },
      { from: b, to: c },
      { from: c, to: a },
    ];
    const { text } = outputOf(`for fd in ${a} ${b} ${c}; do readlink /proc/self/fd/$fd; done`, {
      fds,
      envp: ["PATH=/bin:/usr/bin"],
    });
    const names = text
      .trim()
      .split("\n")
      .map((line) => line.replace(/^\/memfd:(\S+).*$/, "$1"));
    assert.deepEqual(names, ["third", "first", "second"]);
    for (const fd of [a, b, c]) close(fd);
  },

  "one descriptor goes to several numbers, and to its own": () => {
    const fd = memfdCreate("many");
    const fds = [60, 61, fd].map((to) => ({ from: fd, to }));
    const { text } = outputOf(`for fd in 60 61 ${fd}; do readlink /proc/self/fd/$fd; done`, {
      fds,
      envp: ["PATH=/bin:/usr/bin"],
    });
    assert.equal(text.match(/memfd:many/g)?.length, 3);
    assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"), /flags:\s*02/, "still close-on-exec here");
    close(fd);
  },

  "only the named descriptors and stdio reach the program": () => {
    const hidden = memfdCreate("hidden");
    const shown = memfdCreate("shown");
    const { text } = outputOf("for fd in /proc/$$/fd/*; do readlink $fd; done", {
      fds: [{ from: shown, to: shown }],
      envp: ["PATH=/bin:/usr/bin"],
    });
    assert.ok(text.includes("memfd:shown"));
    assert.ok(!text.includes("memfd:hidden"));
    close(hidden);
    close(shown);
  },

  "stdio is inherited, though the engine made it close-on-exec": () => {
    const { status } = outputOf("for fd in 0 1 2; do test -e /proc/$$/fd/$fd || exit 1; done");
    assert.equal(status.exitCode, 0);
    const before = [0, 1, 2].map((fd) => readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").match(/flags:.*/)?.[0]);
    shellAndWait("true");
    assert.deepEqual(
      [0, 1, 2].map((fd) => readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").match(/flags:.*/)?.[0]),
      before,
    );
  },

  "the program starts with no signal blocked or ignored": () => {
    const { text } = outputOf("exec cat /proc/self/status", { envp: ["PATH=/bin:/usr/bin"] });
    assert.match(text, /SigBlk:\t0+\n/);
    assert.match(text, /SigIgn:\t0+\n/);
  },

  "a memfd is run by its number, also where that number is given away": () => {
    const fd = memfdCreate("program", { executable: true });
    write(fd, readFileSync("/bin/true"));
    addSeals(fd, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE);
    const other = memfdCreate("other");
    for (const path of [fd, `/proc/self/fd/${fd}`]) {
      const pid = posixSpawn({ path, argv: ["true"], envp: [], fds: [{ from: other, to: fd }] });
      assert.equal(proc.waitid({ pid }).exitCode, 0);
    }
    close(fd);
    close(other);
  },

  "a session and a directory of its own when asked": () => {
    const { text } = outputOf(
      'read pid comm state ppid pgrp session rest < /proc/$$/stat; echo "$session $pgrp $$ $(pwd)"',
      { cwd: "/usr", setsid: true },
    );
    const [session, group, pid, directory] = text.trim().split(" ");
    assert.equal(session, pid);
    assert.equal(group, pid);
    assert.equal(directory, "/usr");
  },

  "a spawn leaves no descriptor behind, whether it worked or not": () => {
    const before = readdirSync("/proc/self/fd").length;
    const [a, b] = socketpair();
    shellAndWait("true", {
      fds: [
        { from: a, to: b },
        { from: b, to: a },
      ],
    });
    try {
      posixSpawn({
        path: "/nowhere",
        argv: [],
        envp: [],
        fds: [
          { from: a, to: b },
          { from: b, to: a },
        ],
      });
    } catch {
      // That it fails, or not, is not the point: no descriptor may be left either way.
    }
    close(a);
    close(b);
    assert.equal(readdirSync("/proc/self/fd").length, before);
  },

  "limits are read and set, without end too": () => {
    const resource = RLIMITS.RLIMIT_CORE as number;
    const before = proc.getrlimit(resource);
    const old = proc.prlimit(0, resource, { soft: 0n, hard: before.hard });
    assert.deepEqual(old, before);
    assert.deepEqual(proc.getrlimit(resource), { soft: 0n, hard: before.hard });
    proc.prlimit(0, resource, before);
    const pid = shell("exec sleep 100");
    proc.prlimit(pid, RLIMITS.RLIMIT_NOFILE as number, { soft: 17n, hard: 4096n });
    assert.deepEqual(proc.prlimit(pid, RLIMITS.RLIMIT_NOFILE as number), { soft: 17n, hard: 4096n });
    proc.prlimit(pid, RLIMITS.RLIMIT_FSIZE as number, { soft: k.RLIM_INFINITY - 1n, hard: k.RLIM_INFINITY });
    assert.deepEqual(proc.prlimit(pid, RLIMITS.RLIMIT_FSIZE as number), {
      soft: k.RLIM_INFINITY - 1n,
      hard: k.RLIM_INFINITY,
    });
    proc.kill(pid, 9);
    proc.waitid({ pid });
  },

  "the kernel's version is a pair of numbers": () => {
    const [major, minor] = proc.kernelVersion();
    assert.ok(release().startsWith(`${major}.${minor}`));
    assert.equal(proc.uname().release, release());
  },

  "a terminal tells its size, a file that it is none": () => {
    const fd = memfdCreate("file");
    assert.equal(proc.isTerminal(fd), false);
    assert.equal(proc.terminalSize(fd), undefined);
    close(fd);
    const master = open("/dev/ptmx", k.O_RDWR | k.O_NOCTTY);
    assert.equal(proc.isTerminal(master), true);
    proc.ioctl(master, k.TIOCSWINSZ, new Uint8Array(new Uint16Array([24, 80, 0, 0]).buffer));
    assert.deepEqual(proc.terminalSize(master), { rows: 24, columns: 80 });
    close(master);
  },

  "execve that fails returns with the reason and leaves stdio as it was": () => {
    failsWith("ENOENT", () => proc.execve("/nowhere/x", ["x"], []));
    failsWith("EINVAL", () => proc.execve("/bin/true\0", ["x"], []));
    const fd = dup(0);
    setCloexec(fd, false);
    assert.ok(isOpen(fd));
    close(fd);
    failsWith("EBADF", () => proc.execve(999, ["x"], []));
  },
};

function shellAndWait(script: string, more: Partial<SpawnRequest> = {}): void {
  proc.waitid({ pid: shell(script, more) });
}
