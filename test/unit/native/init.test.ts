/** The init's ops that need no privilege, and what it makes of a plan that is no plan. */
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { closeQuiet } from "../../../src/sys/file.ts";
import { unixConnect, unixListen } from "../../../src/sys/socket.ts";
import { type HandStep, initBinary, lines, runInit, shell, wire } from "../../helpers/native.ts";

const O_PATH = 0o10000000;
const [S_IFCHR, S_IFBLK] = [0o020000, 0o060000];
const O_WRONLY_CREAT = 0o101;
const KIND = { exists: 0, directory: 1, file: 2, like: 3 };

const top = mkdtempSync(join(tmpdir(), "tsrun-init-"));
let counter = 0;
let dir: string;
let out: string;

beforeAll(() => void initBinary(), 60_000);
afterAll(() => rmSync(top, { recursive: true, force: true }));
beforeEach(() => {
  dir = join(top, String(++counter));
  mkdirSync(join(dir, "root"), { recursive: true });
  out = join(dir, "out");
});

/** Steps in a root of the test's own, whose descriptor is 10. */
function inRoot(...steps: HandStep[]): HandStep[] {
  return [["open", 10, join(dir, "root"), O_PATH, 0], ...steps];
}

describe("native/decode: a malformed plan is refused with EPROTO and its step", () => {
  const bytes = (text: string) => Buffer.from(text);
  const good = wire([["umask", 0]]);

  test.each([
    ["another magic", bytes("tsrun2\0"), "0 EPROTO"],
    ["a magic that goes on", bytes("tsrun12\0"), "0 EPROTO"],
    ["a magic without its end", bytes("tsrun1"), "0 EPROTO"],
    ["an op that does not exist", bytes("tsrun1\x00999\x00"), "0 EPROTO"],
    ["an op beyond 64 bits", bytes("tsrun1\x0018446744073709551616\x00"), "0 EPROTO"],
    ["an op with a sign", bytes("tsrun1\0-1\0"), "0 EPROTO"],
    ["an op that is no number", bytes("tsrun1\0close\0"), "0 EPROTO"],
    ["an empty op", bytes("tsrun1\0\0"), "0 EPROTO"],
    ["a missing argument", good.slice(0, -2), "0 EPROTO"],
    ["an argument without its end", good.slice(0, -1), "0 EPROTO"],
    ["a number with a space", Buffer.concat([good.slice(0, -2), bytes(" 1\0")]), "0 EPROTO"],
    ["a number beyond 63 bits", Buffer.concat([good.slice(0, -2), bytes("9223372036854775808\0")]), "0 EPROTO"],
    ["a second step that is cut", Buffer.concat([good, bytes("1")]), "1 EPROTO"],
    ["bytes after the last step", Buffer.concat([good, bytes("\0")]), "1 EPROTO"],
    ["a list longer than the data", wire([["findExecutable", []]]).map((b, i, a) => (i === a.length - 2 ? 57 : b)), ""],
  ])("%s", (_name, plan, failure) => {
    const run = runInit(plan);
    expect(run.failure).toBe(failure === "" ? "0 EPROTO" : failure);
    expect(run.exitCode).toBe(1);
  });

  test("a list that claims 2^64-1 strings", () => {
    const plan = wire([["findExecutable", []]]);
    expect(runInit(Buffer.concat([plan.slice(0, -2), bytes("18446744073709551615\0")])).failure).toBe("0 EPROTO");
  });

  test("a program that claims more bytes than there are", () => {
    const plan = wire([["seccomp", 0, new Uint8Array()]]);
    expect(runInit(Buffer.concat([plan.slice(0, -2), bytes("8\x001234567")])).failure).toBe("0 EPROTO");
  });

  test("an empty file is no plan, and a plan without steps ends well", () => {
    expect(runInit(new Uint8Array()).failure).toBe("0 EINVAL");
    expect(runInit([])).toMatchObject({ failure: undefined, exitCode: 0 });
  });
});

describe("native/main", () => {
  test("a failing step is named with its errno and nothing after it is done", () => {
    const run = runInit([
      ["umask", 0],
      ["close", 77],
      ["open", 3, out, O_WRONLY_CREAT, 0o600],
    ]);
    expect(run).toMatchObject({ failure: "1 EBADF", exitCode: 1 });
    expect(existsSync(out)).toBe(false);
  });

  test("a number that is no descriptor is not taken for another one", () => {
    expect(runInit([["close", 2 ** 32]]).failure).toBe("0 EBADF");
  });

  test("modes are exact: no umask of the caller takes part", () => {
    runInit([
      ["open", 3, out, O_WRONLY_CREAT, 0o666],
      ["write", 3, "text"],
      ["close", 3],
    ]);
    expect(statSync(out).mode & 0o7777).toBe(0o666);
    expect(readFileSync(out, "utf8")).toBe("text");
  });

  test("what is written is one write, and a short one is an error", () => {
    expect(
      runInit([
        ["open", 3, "/dev/full", 1, 0],
        ["write", 3, "text"],
      ]).failure,
    ).toBe("1 ENOSPC");
  });
});

describe("native/target", () => {
  test("missing parents are made with 0755, the last component with its own mode", () => {
    const run = runInit(
      inRoot(
        ["target", 11, 10, "/a/b/c", KIND.directory, 0o700, 0],
        ["target", 12, 10, "x/y", KIND.file, 0, 0],
        ["target", 13, 10, "/a/b/c/", KIND.directory, 0, 2],
      ),
    );
    expect(run.failure).toBeUndefined();
    const modes = ["a", "a/b", "a/b/c", "x", "x/y"].map((name) => statSync(join(dir, "root", name)).mode & 0o7777);
    expect(modes).toEqual([0o755, 0o755, 0o700, 0o755, 0o755]);
    expect(lstatSync(join(dir, "root/x/y")).isFile()).toBe(true);
  });

  test("a place outside the root is not reached by dots or links, and is made inside instead", () => {
    symlinkSync("/../../../..", join(dir, "root/up"));
    symlinkSync(join(dir, "outside"), join(dir, "root/out"));
    mkdirSync(join(dir, "outside"));
    const run = runInit(
      inRoot(
        ["target", 11, 10, "/../../made", KIND.directory, 0, 0],
        ["target", 12, 10, "/up/above", KIND.directory, 0, 0],
        ["target", 13, 10, "/out/file", KIND.file, 0, 0],
      ),
    );
    expect(run.failure).toBeUndefined();
    expect(readdirSync(join(dir, "outside"))).toEqual([]);
    expect(readdirSync(join(dir, "root")).sort()).toEqual([
      "above",
      "made",
      "out",
      join(dir).split("/")[1] ?? "",
      "up",
    ]);
    expect(existsSync(join(dir, "root", dir, "outside/file"))).toBe(true);
  });

  test("the target of a link that points at nothing yet is made inside the root", () => {
    mkdirSync(join(dir, "root/etc"));
    symlinkSync("../run/systemd/resolve/stub.conf", join(dir, "root/etc/resolv.conf"));
    symlinkSync("/var/log", join(dir, "root/log"));
    const run = runInit(
      inRoot(
        ["target", 11, 10, "/etc/resolv.conf", KIND.file, 0, 0],
        ["target", 12, 10, "/log/a/b", KIND.directory, 0, 0],
      ),
    );
    expect(run.failure).toBeUndefined();
    expect(lstatSync(join(dir, "root/etc/resolv.conf")).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(dir, "root/run/systemd/resolve/stub.conf")).isFile()).toBe(true);
    expect(lstatSync(join(dir, "root/var/log/a/b")).isDirectory()).toBe(true);
  });

  test("links that lead to each other end in ELOOP", () => {
    symlinkSync("b", join(dir, "root/a"));
    symlinkSync("a", join(dir, "root/b"));
    expect(runInit(inRoot(["target", 11, 10, "/a/x", KIND.file, 0, 0])).failure).toBe("1 ELOOP");
  });

  test.each([
    ["a link on the way, existing", "link/x", 1],
    ["a link on the way, dangling", "dangling/x", 1],
    ["a link as the last component", "link", 2],
    ["a link as the last component, with a slash", "link/", 2],
    ["a dangling link as the last component", "dangling", 2],
  ])("flags refuse %s", (_name, path, flags) => {
    mkdirSync(join(dir, "root/real"));
    symlinkSync("real", join(dir, "root/link"));
    symlinkSync("nothing", join(dir, "root/dangling"));
    expect(runInit(inRoot(["target", 11, 10, path, KIND.directory, 0, flags])).failure).toBe("1 ELOOP");
    expect(existsSync(join(dir, "root/nothing"))).toBe(false);
  });

  test("a flag takes a link as the last component for what a file may go onto", () => {
    mkdirSync(join(dir, "root/real"));
    symlinkSync("real", join(dir, "root/link"));
    const failure = (path: string, kind: number) => runInit(inRoot(["target", 11, 10, path, kind, 0, 4])).failure;
    expect(failure("link", KIND.file)).toBeUndefined();
    expect(failure("link", KIND.exists)).toBeUndefined();
    expect(failure("link", KIND.directory)).toBe("1 ENOTDIR");
    expect(failure("link/below", KIND.file)).toBeUndefined();
    expect(lstatSync(join(dir, "root/real/below")).isFile()).toBe(true);
  });

  test("what is there must be what the kind asks for", () => {
    mkdirSync(join(dir, "root/d"));
    writeFileSync(join(dir, "root/f"), "");
    const failure = (...steps: HandStep[]) => runInit(inRoot(...steps)).failure;
    expect(failure(["target", 11, 10, "/f", KIND.directory, 0, 0])).toBe("1 ENOTDIR");
    expect(failure(["target", 11, 10, "/d", KIND.file, 0, 0])).toBe("1 EISDIR");
    expect(failure(["target", 11, 10, "/f/x", KIND.file, 0, 0])).toBe("1 ENOTDIR");
    expect(failure(["target", 11, 10, "/none", KIND.exists, 0, 0])).toBe("1 ENOENT");
    expect(failure(["target", 11, 10, "/none/../d", KIND.directory, 0, 0])).toBe("1 EXDEV");
    expect(failure(["target", 11, 10, `/${"n".repeat(256)}`, KIND.directory, 0, 0])).toBe("1 ENAMETOOLONG");
    expect(failure(["target", 11, 10, "/d".repeat(3000), KIND.directory, 0, 0])).toBe("1 ENAMETOOLONG");
  });

  test("kind 3 makes what the object at a descriptor is", () => {
    writeFileSync(join(dir, "file"), "");
    const run = runInit(
      inRoot(
        ["open", 20, join(dir, "file"), O_PATH, 0],
        ["target", 11, 10, "/as-file", KIND.like, 20, 0],
        ["target", 12, 10, "/as-directory", KIND.like, 10, 0],
      ),
    );
    expect(run.failure).toBeUndefined();
    expect(lstatSync(join(dir, "root/as-file")).isFile()).toBe(true);
    expect(lstatSync(join(dir, "root/as-directory")).isDirectory()).toBe(true);
  });

  test("openIn refuses magic links of procfs", () => {
    const run = runInit([
      ["open", 10, "/", O_PATH, 0],
      ["openIn", 11, 10, "/proc/self/fd/10/etc", O_PATH, 0],
    ]);
    expect(run.failure).toBe("1 ELOOP");
  });
});

describe("native/device", () => {
  test("a fifo needs no privilege: an equal one is kept, another thing is replaced", () => {
    writeFileSync(join(dir, "root/p"), "a file");
    const owner = [process.getuid?.() ?? 0, process.getgid?.() ?? 0] as const;
    const make: HandStep = ["mknod", 10, "/p", 0o010640, 0, ...owner];
    expect(runInit(inRoot(make)).failure).toBeUndefined();
    const { ino, mode } = lstatSync(join(dir, "root/p"));
    expect(mode & 0o7777).toBe(0o640);
    expect(runInit(inRoot(make)).failure).toBeUndefined();
    expect(lstatSync(join(dir, "root/p")).ino).toBe(ino);
    expect(runInit(inRoot(["mknod", 10, "/p", 0o010600, 0, ...owner])).failure).toBeUndefined();
    expect(lstatSync(join(dir, "root/p")).mode & 0o7777).toBe(0o600);
  });

  test("a link in place of a node is replaced, not followed", () => {
    writeFileSync(join(dir, "victim"), "kept", { mode: 0o600 });
    symlinkSync(join(dir, "victim"), join(dir, "root/p"));
    expect(runInit(inRoot(["mknod", 10, "/p", 0o010666, 0, -1, -1])).failure).toBeUndefined();
    expect(lstatSync(join(dir, "root/p")).isFIFO()).toBe(true);
    expect(statSync(join(dir, "victim")).mode & 0o777).toBe(0o600);
  });

  test("a name that is no name is refused", () => {
    for (const path of ["/", "", "/a/.", "/a/.."]) {
      expect(runInit(inRoot(["mknod", 10, path, 0o010666, 0, -1, -1])).failure).toBe("1 EINVAL");
    }
  });

  test("a symlink is made with its parents and leaves alone what is there", () => {
    writeFileSync(join(dir, "root/taken"), "");
    const run = runInit(
      inRoot(["symlink", 10, "/proc/self/fd", "/dev/fd", 0], ["symlink", 10, "elsewhere", "taken", 0]),
    );
    expect(run.failure).toBeUndefined();
    expect(readlinkSync(join(dir, "root/dev/fd"))).toBe("/proc/self/fd");
    expect(lstatSync(join(dir, "root/taken")).isFile()).toBe(true);
  });

  test("an exact symlink is content with its equal alone", () => {
    const failure = (to: string) => runInit(inRoot(["symlink", 10, to, "link", 1])).failure;
    expect(failure("to/there")).toBeUndefined();
    expect(failure("to/there")).toBeUndefined();
    expect(failure("to/ther")).toBe("1 EEXIST");
    expect(failure("to/there/")).toBe("1 EEXIST");
    writeFileSync(join(dir, "root/file"), "");
    expect(runInit(inRoot(["symlink", 10, "to", "file", 1])).failure).toBe("1 EEXIST");
    expect(readlinkSync(join(dir, "root/link"))).toBe("to/there");
  });

  test("checkMount knows a file system by its magic, and a mount by its place", () => {
    const failure = (path: string, ...args: readonly [magic: number, root: number, at: string]) =>
      runInit([
        ["open", 3, path, O_PATH, 0],
        ["open", 4, "/", O_PATH, 0],
        ["checkMount", 3, ...args],
      ]).failure;
    const PROC = 0x9fa0;
    expect(failure("/proc", PROC, -1, "")).toBeUndefined();
    expect(failure("/proc/self/status", PROC, 4, "/proc")).toBeUndefined();
    expect(failure("/proc", PROC + 1, -1, "")).toBe("2 EINVAL");
    expect(failure("/", PROC, 4, "/proc")).toBe("2 EINVAL");
    // A procfs, but another mount lies there.
    expect(failure("/proc", PROC, 4, "/")).toBe("2 ESTALE");
    expect(failure("/proc", PROC, 4, "/nosuch")).toBe("2 ENOENT");
    symlinkSync("/proc", join(dir, "link"));
    expect(failure("/proc", PROC, 4, join(dir, "link"))).toBe("2 ELOOP");
  });

  test("checkDevice wants this device and nothing else", () => {
    const [NULL, ZERO] = [0x103, 0x105];
    const check = (path: string, type: number, number: number) =>
      runInit([
        ["open", 3, path, O_PATH, 0],
        ["checkDevice", 3, type, number],
      ]).failure;
    expect(check("/dev/null", S_IFCHR, NULL)).toBeUndefined();
    expect(check("/dev/zero", S_IFCHR, ZERO)).toBeUndefined();
    expect(check("/dev/zero", S_IFCHR, NULL)).toBe("1 EINVAL");
    expect(check("/dev/null", S_IFBLK, NULL)).toBe("1 EINVAL");
    expect(check("/etc/passwd", S_IFCHR, 0)).toBe("1 EINVAL");
  });
});

describe("native/exec", () => {
  test("the program gets exactly its arguments, its environment and descriptors 0 to 2", () => {
    const run = runInit([
      ["umask", 0o27],
      ["chdir", join(dir, "root")],
      ["findExecutable", ["/none/sh", "/bin/sh"]],
      ["open", 20, "/", O_PATH, 0],
      ["cloexecFrom", 3],
      [
        "exec",
        ["sh", "-c", `{ echo "$0 $@"; umask; pwd; env | sort; ls /proc/$$/fd; } > ${out}`, "a", "b c"],
        ["X=y=z", "E="],
      ],
    ]);
    expect(run).toMatchObject({ failure: undefined, exitCode: 0 });
    const got = lines(out).filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    const fds = got.splice(5);
    expect(got).toEqual(["a b c", "0027", join(dir, "root"), "E=", "X=y=z"]);
    expect(fds.filter((fd) => !["0", "1", "2"].includes(fd)).length).toBeLessThanOrEqual(1); // the shell's own
  });

  test("signals are at their defaults and nothing is blocked, whatever the runtime had", () => {
    runInit(shell("exec cat /proc/self/status", out));
    const signals = lines(out).filter((line) => /^Sig(Blk|Ign|Cgt)/.test(line));
    expect(signals.map((line) => line.split("\t")[1])).toEqual(Array(3).fill("0000000000000000"));
  });

  test("the umask of the caller is back when the plan has none", () => {
    const umask = process.umask();
    runInit(shell("umask", out));
    expect(Number.parseInt(lines(out)[0] ?? "", 8)).toBe(umask);
  });

  test("descriptors below the first are preserved", () => {
    const run = runInit(
      [
        ["findExecutable", ["/bin/sh"]],
        ["cloexecFrom", 4],
        ["exec", ["sh", "-c", "echo kept >&3"], []],
      ],
      { fds: [{ from: 1, to: 3 }] },
    );
    expect(run.exitCode).toBe(0);
  });

  test("limits and no_new_privs are set", () => {
    runInit([
      ["rlimit", 7, 111, 222n],
      ["noNewPrivs"],
      ...shell("ulimit -Sn; ulimit -Hn; grep NoNew /proc/self/status", out),
    ]);
    expect(lines(out)).toEqual(["111", "222", "NoNewPrivs:\t1"]);
  });

  test.each([
    ["nothing is there", ["none", "/none/none"], "ENOENT"],
    ["no candidates", [], "ENOENT"],
    ["a parent is a file", ["/etc/passwd/sh"], "ENOENT"],
    ["a file that is not executable wins over nothing", ["/none", "/etc/passwd", "/none2"], "EACCES"],
    ["only a directory", ["/none", "/etc"], "EISDIR"],
    ["a device", ["/dev/null"], "EACCES"],
    ["a magic link of procfs", ["/proc/self/exe"], "ELOOP"],
    ["a path through a descriptor", ["/proc/self/fd/30/bin/sh"], "ELOOP"],
  ])("findExecutable says why: %s", (_name, candidates, code) => {
    const run = runInit([
      ["open", 30, "/", O_PATH, 0],
      ["findExecutable", candidates],
    ]);
    expect(run.failure).toBe(`1 ${code}`);
  });

  test("a seccomp filter need not allow what the init does, and is in force for the program", () => {
    const numbers = process.arch === "arm64" ? { mmap: 222, umask: 166, close: 57 } : { mmap: 9, umask: 95, close: 3 };
    // Load the number of the call; EPERM for these three; allow the rest.
    const filter: [code: number, jt: number, jf: number, k: number][] = [
      [0x20, 0, 0, 0],
      [0x15, 2, 0, numbers.mmap],
      [0x15, 1, 0, numbers.umask],
      [0x15, 0, 1, numbers.close],
      [0x06, 0, 0, 0x00050001],
      [0x06, 0, 0, 0x7fff0000],
    ];
    const program = Buffer.alloc(filter.length * 8);
    for (const [i, [code, jt, jf, k]] of filter.entries()) {
      program.writeUInt16LE(code, i * 8);
      program.writeUInt8(jt, i * 8 + 2);
      program.writeUInt8(jf, i * 8 + 3);
      program.writeUInt32LE(k, i * 8 + 4);
    }
    const strict = runInit([
      ["umask", 0o22],
      ["noNewPrivs"],
      // Itself again: a program without a libc, which says by 2 that it had no arguments.
      ["findExecutable", [initBinary()]],
      ["cloexecFrom", 3],
      ["seccomp", 0, program],
      ["exec", ["tsrun-init"], []],
    ]);
    expect(strict).toMatchObject({ failure: undefined, exitCode: 2 });
    const after = runInit([["noNewPrivs"], ["seccomp", 0, program], ["close", 0]]);
    expect(after.failure).toBe("2 EPERM");
  });

  test.each([
    ["a program that is no whole number of instructions", new Uint8Array(9)],
    ["a program longer than the kernel takes", new Uint8Array(8 * 65536)],
    ["an empty program", new Uint8Array()],
  ])("seccomp refuses %s", (_name, program) => {
    expect(runInit([["noNewPrivs"], ["seccomp", 0, program]]).failure).toBe("1 EINVAL");
  });

  test("a file the kernel cannot run is reported by exec", () => {
    writeFileSync(join(dir, "text"), "no program\n");
    chmodSync(join(dir, "text"), 0o755);
    expect(
      runInit([
        ["findExecutable", [join(dir, "text")]],
        ["exec", ["x"], []],
      ]).failure,
    ).toBe("1 ENOEXEC");
  });

  test("exec without findExecutable finds nothing", () => {
    expect(runInit([["exec", ["sh"], []]]).failure).toBe("0 ENOENT");
  });

  test("a working directory that is missing or no directory is named", () => {
    expect(runInit([["chdir", join(dir, "none")]]).failure).toBe("0 ENOENT");
    expect(runInit([["chdir", "/etc/passwd"]]).failure).toBe("0 ENOTDIR");
    expect(runInit([["enter", join(dir, "none")]]).failure).toBe("0 ENOENT");
  });

  test("a working directory that was entered is not looked for again", () => {
    const steps: HandStep[] = [["enter", dir], ["chdir", join(dir, "none")], ...shell("pwd", out)];
    expect(runInit(steps).failure).toBeUndefined();
    expect(lines(out)).toEqual([dir]);
  });

  test("descriptors 0 to 2 may stay with whom they belong to", () => {
    expect(runInit([["stdio", process.getuid?.() ?? 0]]).failure).toBeUndefined();
  });
});

describe("native/sync", () => {
  test("await waits for its answer, with its tag", () => {
    const run = runInit(
      [
        ["await", 2],
        ["await", 3],
      ],
      { onAwait: () => true },
    );
    expect(run).toMatchObject({ awaited: [2, 3], exitCode: 0, failure: undefined });
  });

  test("receive takes the descriptor that comes with the answer, close-on-exec", () => {
    const fd = openSync(dir, "r");
    const steps: HandStep[] = [
      ["receive", 8, 20],
      ["openIn", 21, 20, "made", O_WRONLY_CREAT, 0],
      ...shell("ls /proc/self/fd", out),
    ];
    writeFileSync(join(dir, "made"), "");
    expect(runInit(steps, { onAwait: () => fd })).toMatchObject({ awaited: [8], failure: undefined, exitCode: 0 });
    expect(lines(out)).not.toContain("20");
    expect(runInit(steps, { onAwait: () => true }).failure).toBe("0 EBADF");
    expect(runInit(steps, { onAwait: () => false })).toMatchObject({ failure: undefined, exitCode: 1 });
    closeSync(fd);
  });

  test("when the runtime is gone the init ends and does nothing more", () => {
    const run = runInit(
      [
        ["await", 2],
        ["open", 3, out, O_WRONLY_CREAT, 0o600],
      ],
      { onAwait: () => false },
    );
    expect(run.exitCode).toBe(1);
    expect(existsSync(out)).toBe(false);
  });

  test("endOnSignals ends the process with 128 and the number of a signal of the mask", () => {
    const TERM_AND_HUP = (1n << 14n) | 1n;
    for (const [signal, exitCode] of [
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      // The signal is there before the end of the socket, which would end it with 1.
      const onAwait = (_: number, pid: number) => !process.kill(pid, signal);
      expect(
        runInit(
          [
            ["endOnSignals", TERM_AND_HUP],
            ["await", 2],
          ],
          { onAwait },
        ),
      ).toMatchObject({ exitCode });
    }
  });

  test("awaitStart goes on when somebody connects, and tells that one what fails", () => {
    const listener = unixListen(join(dir, "start.sock"));
    let connection = -1;
    const run = runInit(
      [
        ["await", 2],
        ["awaitStart", 20],
        ["close", 77],
      ],
      {
        fds: [{ from: listener, to: 20 }],
        onAwait: () => {
          connection = unixConnect(join(dir, "start.sock"));
        },
      },
    );
    closeQuiet(listener);
    expect(run).toMatchObject({ awaited: [2], failure: undefined, exitCode: 1 });
    closeQuiet(connection);
  });
});
