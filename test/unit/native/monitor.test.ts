/** The foreground monitor: exit codes, signals, the terminal, and what it removes afterwards. */
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isErrno } from "../../../src/errors.ts";
import { POLLIN, POLLOUT, SOCK_DGRAM } from "../../../src/sys/constants.ts";
import { close, write } from "../../../src/sys/file.ts";
import { ioctl, pidfdOpen, pollFd } from "../../../src/sys/process.ts";
import { pipe, recvMessage, sendMsg, socketpair, unixConnect, unixReceive } from "../../../src/sys/socket.ts";
import { type Monitored, type MonitorOptions, makePty, startMonitor, until } from "../../helpers/monitor.ts";
import { initBinary } from "../../helpers/native.ts";

const TCGETS = 0x5401;
const TIOCSWINSZ = 0x5414;

const top = mkdtempSync(join(tmpdir(), "tsrun-monitor-"));
let counter = 0;
let dir: string;

beforeAll(() => void initBinary(), 60_000);
afterAll(() => rmSync(top, { recursive: true, force: true }));
beforeEach(() => {
  dir = join(top, String(++counter));
  mkdirSync(dir);
});

function monitor(command: string, options?: MonitorOptions): Monitored {
  return startMonitor(dir, command, options);
}

describe("native/monitor", () => {
  test("it exits as the container did: its code, or 128 and the signal", async () => {
    expect(await monitor("exit 0").code).toBe(0);
    expect(await monitor("exit 37").code).toBe(37);
    expect(await monitor("kill -9 $$").code).toBe(137);
  });

  test("a container that ended before the monitor began is not waited for", async () => {
    expect(await monitor("exit 5", { late: true }).code).toBe(5);
  });

  test.each(["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "PIPE", "CONT", "WINCH", "RTMIN+3"])(
    "SIG%s reaches the container",
    async (name) => {
      const run = monitor(`trap 'echo got; exit 9' ${name}; echo ready; while :; do sleep 0.02; done`);
      await run.seen("ready");
      await run.started();
      // Through bash: Node does not know real-time signals by name.
      spawn("bash", ["-c", `kill -${name} ${run.child.pid}`]);
      expect(await run.code).toBe(9);
      expect(run.output()).toBe("ready\ngot\n");
    },
  );

  test("a stopped container goes on when it is continued", async () => {
    const run = monitor("echo $$; kill -STOP $$; exit 3");
    await run.seen("\n");
    const pid = run.output().trim();
    await until(() => /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
    await run.started();
    run.child.kill("SIGCONT");
    expect(await run.code).toBe(3);
  });

  test("an orphan of the container is collected and not taken for it", async () => {
    const run = monitor("(sleep 0.05; exit 1) & (setsid sh -c 'exit 2' &); sleep 0.2; exit 4");
    expect(await run.code).toBe(4);
  });

  test("standard input and the two outputs are the container's own", async () => {
    const run = monitor("cat; echo problem >&2");
    run.child.stdin?.end("line\n");
    expect(await run.code).toBe(0);
    expect(run.output()).toBe("line\n");
    expect(run.errors()).toBe("problem\n");
  });

  test("it waits in at most 100 KB of resident memory", async () => {
    const run = monitor("echo ready; read line; exit 0", { terminal: true });
    await run.seen("ready");
    await run.started();
    const status = readFileSync(`/proc/${run.child.pid}/status`, "utf8");
    expect(status).toContain("tsrun-");
    expect(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1])).toBeLessThanOrEqual(100);
    run.child.stdin?.end("\n");
    expect(await run.code).toBe(0);
  });

  test.each(["CONT", "WINCH"])("SIG%s that came while it was being executed is not lost", async (pending) => {
    const run = monitor(`trap 'exit 9' ${pending}; while :; do sleep 0.02; done`, { pending });
    expect(await run.code).toBe(9);
  });

  test("a process that is not its child is watched by its pidfd, and no signal goes there", async () => {
    const stranger = spawn("sleep", ["60"], { stdio: "ignore" });
    const gone = new Promise((done) => stranger.on("close", (_code, signal) => done(signal)));
    writeFileSync(join(dir, "config"), `tsrunm1\0${stranger.pid}\x004\0-1\x003\0`);
    const config = openSync(join(dir, "config"), "r");
    const pidFd = pidfdOpen(stranger.pid ?? 0);
    const watcher = spawn(initBinary(), ["3"], {
      argv0: "tsrun-monitor",
      stdio: ["ignore", "ignore", "ignore", config, pidFd],
    });
    const code = new Promise((done) => watcher.on("close", done));
    await until(() => readFileSync(`/proc/${watcher.pid}/status`, "utf8").includes("SigBlk:\tfffffffffffbfeff"));
    watcher.kill("SIGTERM");
    stranger.kill("SIGUSR1");
    expect(await gone).toBe("SIGUSR1");
    expect(await code).toBe(255);
    for (const fd of [config, pidFd]) close(fd);
  });

  test("a configuration that is none ends it with 255, and a word about it", async () => {
    const child = spawn("bash", ["--norc", "-c", `exec 9<<< nonsense; exec -a tsrun-monitor "$INIT" 9`], {
      env: { PATH: process.env.PATH, INIT: initBinary() },
    });
    let stderr = "";
    child.stderr.on("data", (bytes) => {
      stderr += bytes;
    });
    expect(await new Promise((done) => child.on("close", done))).toBe(255);
    // Of a pipe, which bash makes of it, nothing can be mapped.
    expect(stderr).toMatch(/^tsrun: watch the container, which runs on: (EPROTO|EINVAL) \(errno \d+\)\n$/);
  });
});

describe("native/pump", () => {
  test("the last output arrives, however much it is", async () => {
    const run = monitor("seq 1 30000; printf END", { terminal: true, stdin: "ignore" });
    expect(await run.code).toBe(0);
    expect(run.output().endsWith("30000\r\nEND")).toBe(true);
    expect(run.output().split("\r\n").length).toBe(30001);
  });

  test("what is typed reaches the container, and the end of input is its end of file", async () => {
    const run = monitor("stty -echo; echo ready; cat; echo end", { terminal: true });
    await run.seen("ready");
    run.child.stdin?.end("one\nand a half");
    expect(await run.code).toBe(0);
    expect(run.output()).toBe("ready\r\none\r\nand a halfend\r\n");
  });

  test("much input is not lost where the container reads slowly", async () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join("");
    const run = monitor("stty -echo; echo ready; sleep 0.2; wc -c", { terminal: true });
    await run.seen("ready");
    run.child.stdin?.end(text);
    expect(await run.code).toBe(0);
    expect(run.output()).toContain(`\r\n${text.length}\r\n`);
  });

  test("a terminal that nobody in the container holds for a while comes back", async () => {
    const run = monitor(`tty=$(tty); exec <&- >&- 2>&-; sleep 0.1; exec > $tty; echo back; exit 6`, {
      terminal: true,
      stdin: "ignore",
    });
    expect(await run.code).toBe(6);
    expect(run.output()).toBe("back\r\n");
  });

  test("when nobody reads the output any more the container is hung up", async () => {
    const run = monitor("trap 'exit 8' HUP; while :; do echo y; done", { terminal: true, stdin: "ignore" });
    await run.seen("y");
    run.child.stdout?.destroy();
    expect(await run.code).toBe(8);
  });

  test.each(["terminal", "pipe"])(
    "output to a %s that nobody takes holds neither signals nor the end",
    async (kind) => {
      const [unread, output] = kind === "pipe" ? pipe() : Object.values(makePty() as { [end: string]: number });
      const run = monitor(`trap 'echo > ${dir}/ended; exit 9' TERM; yes & echo > ${dir}/ready; wait`, {
        terminal: true,
        stdin: "ignore",
        stdout: output as number,
      });
      // What is said comes sooner than the end is seen: then it was for the container.
      let impatience: ReturnType<typeof setInterval> | undefined;
      try {
        await until(() => existsSync(join(dir, "ready")) && pollFd(output as number, POLLOUT, 0) === 0);
        run.child.kill("SIGTERM");
        await until(() => existsSync(join(dir, "ended")));
        impatience = setInterval(() => run.child.kill("SIGTERM"), 50);
        expect(await run.code).toBe(9);
      } finally {
        clearInterval(impatience);
        run.child.kill("SIGKILL");
        for (const fd of [unread, output]) close(fd as number);
      }
    },
  );

  test("when our terminal is gone the container is hung up, even if it says nothing", async () => {
    const outer = makePty();
    const before = modes(outer.slave).join();
    const run = monitor(`trap 'exit 8' HUP; echo > ${dir}/ready; while :; do sleep 0.02; done`, {
      terminal: true,
      stdin: outer.slave,
      stdout: outer.slave,
    });
    await until(() => existsSync(join(dir, "ready")) && modes(outer.slave).join() !== before);
    for (const fd of [outer.master, outer.slave]) close(fd);
    expect(await run.code).toBe(8);
  });

  test("our terminal is raw meanwhile, has its size copied, and is put back", async () => {
    const outer = makePty();
    try {
      ioctl(outer.slave, TIOCSWINSZ, new Uint8Array(new Uint16Array([33, 77, 0, 0]).buffer));
      const before = modes(outer.slave);
      const run = monitor(
        'while [ "$(stty size)" = "0 0" ]; do :; done; echo $(stty size) > $DIR/size; read line; echo $(stty size) >> $DIR/size'.replaceAll(
          "$DIR",
          dir,
        ),
        {
          terminal: true,
          stdin: outer.slave,
          stdout: outer.slave,
        },
      );
      await until(() => existsSync(join(dir, "size")) && readFileSync(join(dir, "size"), "utf8") !== "");
      expect(modes(outer.slave)).not.toEqual(before);
      ioctl(outer.slave, TIOCSWINSZ, new Uint8Array(new Uint16Array([10, 20, 0, 0]).buffer));
      run.child.kill("SIGWINCH");
      run.child.kill("SIGCONT");
      write(outer.master, "\r");
      expect(await run.code).toBe(0);
      expect(readFileSync(join(dir, "size"), "utf8")).toBe("33 77\n10 20\n");
      expect(modes(outer.slave)).toEqual(before);
    } finally {
      for (const fd of [outer.master, outer.slave]) close(fd);
    }
  });

  test("the first READY= that is said goes on, with a barrier", async () => {
    const path = join(dir, "host");
    const host = unixReceive(path);
    const socket = unixReceive(join(dir, "container"));
    const say = unixConnect(join(dir, "container"), SOCK_DGRAM);
    const to = unixConnect(path, SOCK_DGRAM);
    const run = monitor("echo $$; read line", { notify: { socket, host: to } });
    for (const fd of [socket, to]) close(fd);
    await run.seen("\n");
    for (const text of ["", "STATUS=READY=1", "READY=", "STATUS=x\nREADY=1\nMAINPID=1"]) sendMsg(say, text);
    await until(() => pollFd(host, POLLIN, 0) !== 0);
    const text = (received: { data: Uint8Array }) => new TextDecoder().decode(received.data);
    expect(text(recvMessage(host))).toBe("READY=1\n");
    await until(() => pollFd(host, POLLIN, 0) !== 0);
    const barrier = recvMessage(host);
    expect([text(barrier), barrier.fds.length]).toEqual(["BARRIER=1", 1]);
    // Who says more is told that nobody listens.
    await until(() => {
      try {
        sendMsg(say, "READY=1");
        return false;
      } catch (error) {
        return isErrno(error, "ECONNREFUSED");
      }
    });
    expect(pollFd(host, POLLIN, 0)).toBe(0);
    run.child.stdin?.end("\n");
    // It waits until it was understood.
    let ended = false;
    void run.code.then(() => {
      ended = true;
    });
    await until(() => !existsSync(`/proc/${run.output().trim()}`));
    expect(ended).toBe(false);
    for (const fd of barrier.fds) close(fd);
    expect(await run.code).toBe(0);
    for (const fd of [host, say]) close(fd);
  });

  test("what was said last is heard, though the container has ended", async () => {
    const path = join(dir, "host");
    const host = unixReceive(path);
    const socket = unixReceive(join(dir, "container"));
    const say = unixConnect(join(dir, "container"), SOCK_DGRAM);
    const to = unixConnect(path, SOCK_DGRAM);
    sendMsg(say, "READY=1");
    const run = monitor("exit 3", { notify: { socket, host: to }, late: true });
    for (const fd of [socket, to]) close(fd);
    await until(() => pollFd(host, POLLIN, 0) !== 0);
    expect(new TextDecoder().decode(recvMessage(host).data)).toBe("READY=1\n");
    await until(() => pollFd(host, POLLIN, 0) !== 0);
    recvMessage(host).fds.forEach(close);
    expect(await run.code).toBe(3);
    for (const fd of [host, say]) close(fd);
  });

  test("our terminal is put back when the container dies of a signal that we forward", async () => {
    const outer = makePty();
    try {
      const before = modes(outer.slave);
      const run = monitor(`echo > ${dir}/ready; sleep 60`, { terminal: true, stdin: outer.slave, stdout: outer.slave });
      await run.started();
      await until(() => existsSync(join(dir, "ready")) && modes(outer.slave).join() !== before.join());
      run.child.kill("SIGTERM");
      expect(await run.code).toBe(143);
      expect(modes(outer.slave)).toEqual(before);
    } finally {
      for (const fd of [outer.master, outer.slave]) close(fd);
    }
  });
});

/** struct termios of the kernel. */
function modes(fd: number): number[] {
  const termios = new Uint8Array(36);
  ioctl(fd, TCGETS, termios);
  return [...termios];
}

describe("native/cleanup", () => {
  test("records are carried out in order after the end of the container", async () => {
    writeFileSync(join(dir, "file"), "");
    mkdirSync(join(dir, "empty"));
    mkdirSync(join(dir, "tree/a/b"), { recursive: true });
    writeFileSync(join(dir, "tree/a/b/file"), "");
    const run = monitor(`test -e ${dir}/file && exit 3`, {
      cleanup: [
        ["u", join(dir, "file")],
        ["r", join(dir, "empty")],
        ["t", join(dir, "tree")],
        ["x", "3", "/bin/sh", "-c", `ls ${dir}; echo $ONE $TWO; exit 9`, "2", "ONE=1", "TWO=2"],
      ],
    });
    expect(await run.code).toBe(3);
    expect(run.output().trim().split("\n")).toEqual(["cleanup", "config", "1 2"]);
    expect(run.errors()).toBe("");
  });

  test("how the container ended is written to who waits for it, before the rest goes", async () => {
    writeFileSync(join(dir, "figures"), "oom_kill 2\n");
    writeFileSync(join(dir, "waiting"), "something longer than what will be there");
    const files = ["2", join(dir, "figures"), join(dir, "none")];
    const cleanup = [
      ["e", join(dir, "waiting"), ...files],
      ["e", join(dir, "nobody"), ...files],
      ["E", join(dir, "kept"), ...files],
      ["u", join(dir, "figures")],
    ];
    for (const [script, code, status] of [
      ["exit 3", 3, 3 << 8],
      ["kill -KILL $$", 137, 9],
      ["exit 0", 0, 0],
    ] as const) {
      writeFileSync(join(dir, "figures"), "oom_kill 2\n");
      const run = monitor(script, { cleanup });
      expect(await run.code).toBe(code);
      expect(run.errors()).toBe("");
      for (const name of ["waiting", "kept"]) {
        expect(readFileSync(join(dir, name), "utf8")).toBe(`${status}\0oom_kill 2\n\0\0`);
      }
      expect(existsSync(join(dir, "nobody"))).toBe(false);
    }
  });

  test("it tells the witness that the container has ended, and says of its files what the witness says", async () => {
    const [figures, record, kept] = ["figures", "record", "kept"].map((name) => join(dir, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(figures, "oom_kill 7\n");
    for (const [said, known] of [
      ["-1\0oom_kill 1\n\0\0", "oom_kill 1\n\0\0"],
      ["", "oom_kill 7\n\0\0"],
    ]) {
      writeFileSync(record, "");
      const fd = openSync(record, "r");
      const [ours, theirs] = socketpair();
      const run = monitor("exit 3", {
        witness: { socket: theirs, record: fd },
        cleanup: [["E", kept, "2", figures, join(dir, "none")]],
      });
      close(theirs);
      expect(pollFd(ours, POLLIN, 10_000)).toBe(POLLIN);
      expect(recvMessage(ours, 8).data).toHaveLength(1);
      writeFileSync(record, said as string);
      close(ours);
      expect(await run.code).toBe(3);
      expect(run.errors()).toBe("");
      expect(readFileSync(kept, "utf8")).toBe(`${3 << 8}\0${known}`);
      closeSync(fd);
    }
  });

  test("a record of the end that cannot be written keeps nothing from being removed", async () => {
    mkdirSync(join(dir, "kept"));
    writeFileSync(join(dir, "file"), "");
    const cleanup = [
      ["E", join(dir, "kept"), "0"],
      ["s", ""],
      ["u", join(dir, "file")],
    ];
    const run = monitor("exit 0", { cleanup });
    expect(await run.code).toBe(0);
    expect(run.errors()).toBe("tsrun: write how the container ended: EISDIR (errno 21)\n");
    expect(existsSync(join(dir, "file"))).toBe(false);
  });

  test("a directory that was removed meanwhile, and made anew, is somebody else's", async () => {
    mkdirSync(join(dir, "state"));
    for (const [script, isLeft] of [
      [`rmdir ${dir}/state; mkdir ${dir}/state`, true],
      ["true", false],
    ] as const) {
      writeFileSync(join(dir, "file"), "");
      const stdin = openSync(join(dir, "state"), "r");
      const run = monitor(script, {
        stdin,
        cleanup: [
          ["l", "0"],
          ["u", join(dir, "file")],
        ],
      });
      expect(await run.code).toBe(0);
      closeSync(stdin);
      expect(existsSync(join(dir, "file"))).toBe(isLeft);
    }
  });

  test("a program that takes the lock itself gets it: it is given back before", async () => {
    mkdirSync(join(dir, "state"));
    for (const unlock of [[["f", "0"]], []]) {
      const stdin = openSync(join(dir, "state"), "r");
      const run = monitor("true", {
        stdin,
        cleanup: [
          ["l", "0"],
          ...unlock,
          ["x", "3", "/bin/sh", "-c", `flock -n ${dir}/state echo got it || echo taken`, "0"],
        ],
      });
      expect(await run.code).toBe(0);
      closeSync(stdin);
      expect(run.output()).toBe(unlock.length > 0 ? "got it\n" : "taken\n");
      expect(run.errors()).toBe("");
    }
  });

  test("what is gone already is fine; an error is one line and keeps nothing from being done", async () => {
    mkdirSync(join(dir, "full"));
    writeFileSync(join(dir, "full/file"), "");
    writeFileSync(join(dir, "last"), "");
    const run = monitor("exit 4", {
      cleanup: [
        ["u", join(dir, "none")],
        ["r", join(dir, "none")],
        ["t", join(dir, "none")],
        ["c", join(dir, "none")],
        ["k", join(dir, "none")],
        ["r", join(dir, "full")],
        ["t", "relative"],
        ["t", "/"],
        ["u", join(dir, "last")],
      ],
    });
    expect(await run.code).toBe(4);
    expect(run.errors().trim().split("\n")).toEqual([
      `tsrun: remove ${join(dir, "full")}: ENOTEMPTY (errno 39)`,
      "tsrun: remove relative: EINVAL (errno 22)",
      "tsrun: remove /: EINVAL (errno 22)",
    ]);
    expect(existsSync(join(dir, "last"))).toBe(false);
  });

  test("a tree goes without following its links", async () => {
    mkdirSync(join(dir, "kept"));
    writeFileSync(join(dir, "kept/file"), "");
    mkdirSync(join(dir, "tree/sub"), { recursive: true });
    symlinkSync(join(dir, "kept"), join(dir, "tree/link"));
    symlinkSync("../../kept/file", join(dir, "tree/sub/link"));
    symlinkSync(join(dir, "kept"), join(dir, "top-link"));
    const run = monitor("exit 0", {
      cleanup: [
        ["t", join(dir, "tree")],
        ["t", join(dir, "top-link")],
      ],
    });
    expect(await run.code).toBe(0);
    expect(run.errors()).toBe("");
    expect(existsSync(join(dir, "tree"))).toBe(false);
    expect(() => lstatSync(join(dir, "top-link"))).toThrow();
    expect(existsSync(join(dir, "kept/file"))).toBe(true);
  });

  test("a tree deeper than any path and wider than any buffer goes too", async () => {
    const script = `mkdir "tree"; chdir "tree";
      for (1 .. 100) { open F, ">", "f$_"; mkdir "d$_"; open F, ">", "d$_/x" }
      for (1 .. 25) { mkdir "n" x 200 or die; chdir "n" x 200 or die }
      open F, ">", "file" or die`;
    const made = spawn("perl", ["-e", script], { cwd: dir });
    expect(await new Promise((done) => made.on("close", done))).toBe(0);
    const run = monitor("exit 0", { cleanup: [["t", join(dir, "tree")]] });
    expect(await run.code).toBe(0);
    expect(run.errors()).toBe("");
    expect(existsSync(join(dir, "tree"))).toBe(false);
  });
});
