/** The ops of the native init that need privilege, by plans written by hand, in roots made to trip them. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect } from "vitest";
import { MESSAGE } from "../../src/plan/step.ts";
import { close, read } from "../../src/sys/file.ts";
import { startMonitor } from "../helpers/monitor.ts";
import { type HandStep, type InitRun, lines, runInit } from "../helpers/native.ts";
import { needs } from "../helpers/needs.ts";
import { scratch, TEST_PREFIX } from "../helpers/scratch.ts";

const NEWNS = 0x20000;
const NEWUTS = 0x4000000;
const NEWUSER = 0x10000000;
const NEWPID = 0x20000000;
const NEWNET = 0x40000000;
const MS_SLAVE = 1 << 19;
const RECURSIVE = 0x8000;
const O_PATH = 0o10000000;
const NOSYMLINKS = 1;
const DIRECTORY = 1;

const root = needs({ root: true, files: ["/bin/busybox"] });

let rootfs: string;

beforeEach(() => {
  rootfs = scratch("rootfs");
  for (const name of ["bin", "out", "proc", "dev", "etc"]) mkdirSync(join(rootfs, name));
  copyFileSync("/bin/busybox", join(rootfs, "bin/busybox"));
  for (const name of ["sh", "cat", "ls", "id", "grep", "stty", "hostname", "pwd"]) {
    symlinkSync("busybox", join(rootfs, "bin", name));
  }
});

/** New namespaces and the root on descriptor 3. */
function begin(flags = 0): HandStep[] {
  return [
    ["clone", NEWNS | NEWPID | flags, -1],
    ["mountSetattr", -1, "/", RECURSIVE, 0, 0, MS_SLAVE, -1],
    ["openTree", 3, -1, rootfs, RECURSIVE],
    ["open", 4, rootfs, O_PATH, 0],
    ["attach", 3, 4],
    ["close", 4],
  ];
}

function mountOn(path: string, type: string, options: string[] = [], attrs = 0): HandStep[] {
  return [
    ["target", 5, 3, path, DIRECTORY, 0, NOSYMLINKS],
    ["fsmount", 6, type, attrs, [`source=${type}`, ...options]],
    ["attach", 6, 5],
    ["close", 5],
    ["close", 6],
  ];
}

/** Runs this shell command; its output is in /out/log of the root. */
function end(command: string): HandStep[] {
  return [
    ["findExecutable", ["/bin/sh"]],
    ["cloexecFrom", 3],
    ["exec", ["sh", "-c", `{ ${command}\n} > /out/log 2>&1`], ["PATH=/bin"]],
  ];
}

function output(): string[] {
  return lines(join(rootfs, "out/log"));
}

function expectFailure(run: InitRun, op: string, code: string, plan: readonly HandStep[]): void {
  const [step, errno] = run.failure?.split(" ") ?? [];
  expect([plan[Number(step)]?.[0], errno]).toEqual([op, code]);
}

describe("native, privileged", () => {
  root("the process is the runtime's own child, first in its pid namespace, in its own root", () => {
    const run = runInit([
      ...begin(NEWUTS),
      ...mountOn("/proc", "proc"),
      ["sethostname", "box"],
      ["pivot", 3],
      ...end("echo $$; hostname; ls /; exit 7"),
    ]);
    expect(run.failure).toBeUndefined();
    expect(run.exitCode).toBe(7);
    expect(output()).toEqual(["1", "box", "bin", "dev", "etc", "out", "proc"]);
  });

  root("the pid is told before anything else, however fast the process is", () => {
    for (let i = 0; i < 50; i++) {
      expect(
        runInit([
          ["clone", NEWPID, -1],
          ["await", 1],
        ]).messages,
      ).toEqual([MESSAGE.PID, MESSAGE.AWAIT]);
    }
  });

  root("the host's mounts are as before, and nothing of them is seen inside", () => {
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    runInit([...begin(), ...mountOn("/proc", "proc"), ["pivot", 3], ...end("cat /proc/self/mounts")]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
    expect(output().map((line) => line.split(" ")[1])).toEqual(["/", "/proc"]);
  });

  root("without pivot_root the root is moved", () => {
    const run = runInit([...begin(), ["moveRoot", 3], ...end("pwd; ls /; exit 3")]);
    expect([run.failure, run.exitCode]).toEqual([undefined, 3]);
    expect(output()).toEqual(["/", "bin", "dev", "etc", "out", "proc"]);
  });

  root("a working directory through a descriptor of the host is refused", () => {
    const plan: HandStep[] = [
      ...begin(),
      ...mountOn("/proc", "proc"),
      ["open", 20, "/etc", O_PATH, 0],
      ["pivot", 3],
      ["chdir", "/proc/self/fd/20"],
    ];
    expectFailure(runInit(plan), "chdir", "ENOENT", plan);
  });

  root("a symlink where proc goes is refused, and a swap of a parent too", () => {
    symlinkSync("/etc", join(rootfs, "sys"));
    symlinkSync("..", join(rootfs, "etc/up"));
    for (const path of ["/sys", "/etc/up/proc"]) {
      const plan: HandStep[] = [...begin(), ...mountOn(path, "proc")];
      expectFailure(runInit(plan), "target", "ELOOP", plan);
    }
  });

  root(
    "masked files are the null device, masked directories one empty read-only tmpfs, read-only paths stay so",
    () => {
      const run = runInit([
        ...begin(),
        ...mountOn("/proc", "proc"),
        ["open", 7, "/dev/null", O_PATH, 0],
        ["checkDevice", 7, 0o020000, 0x103],
        ["fsmount", 8, "tmpfs", 1, ["source=tmpfs", "mode=0755"]],
        ["mask", 3, "/proc/keys", 7, 8],
        ["mask", 3, "/proc/irq", 7, 8],
        ["mask", 3, "/proc/fs", 7, 8],
        ["mask", 3, "/proc/none/deeper", 7, 8],
        ["mask", 3, "/proc/version/below", 7, 8],
        ["readonly", 3, "/proc/sys"],
        ["readonly", 3, "/none"],
        ["pivot", 3],
        ...end(`cat /proc/keys; ls /proc/irq /proc/fs; echo x > /proc/irq/file; echo x > /proc/sys/kernel/hostname
        ls -l /proc/keys | grep -o '1, *3'; grep -c "^tmpfs /proc/" /proc/self/mounts`),
      ]);
      expect(run.failure).toBeUndefined();
      expect(output()).toEqual([
        "/proc/fs:",
        "",
        "/proc/irq:",
        "sh: can't create /proc/irq/file: Read-only file system",
        "sh: can't create /proc/sys/kernel/hostname: Read-only file system",
        "1,   3",
        "2",
      ]);
    },
  );

  root("a mask through a link of the image stays inside the root", () => {
    symlinkSync("/etc/secret", join(rootfs, "link"));
    writeFileSync(join(rootfs, "etc/secret"), "inside");
    runInit([
      ...begin(),
      ["open", 7, "/dev/null", O_PATH, 0],
      ["mask", 3, "/link", 7, 7],
      ["pivot", 3],
      ...end("cat /etc/secret; echo end"),
    ]);
    expect(output()).toEqual(["end"]);
  });

  root("devices are made with their numbers, mode and owner; an equal one is kept", () => {
    const node: HandStep = ["mknod", 3, "/dev/sub/null", 0o020640, (1 << 8) | 3, 1000, 1001];
    const run = runInit([
      ...begin(),
      ["fsmountLike", 6, "tmpfs", 0, ["source=dev"], 3],
      ["target", 5, 3, "/dev", 1, 0, 0],
      ["attach", 6, 5],
      node,
      node,
      ["mknod", 3, "/dev/big", 0o060600, (8 << 8) | (300 & 0xff) | ((300 & ~0xff) << 12), 0, 0],
      ["pivot", 3],
      ...end("ls -ln /dev/sub/null /dev/big"),
    ]);
    expect(run.failure).toBeUndefined();
    const fields = output().map((line) => line.split(/\s+/));
    expect(fields.map((f) => [f[0], f[2], f[3], f[4], f[5]])).toEqual([
      ["brw-------", "0", "0", "8,", "300"],
      ["crw-r-----", "1000", "1001", "1,", "3"],
    ]);
  });

  root("fsmountLike takes the mode of what it covers", () => {
    mkdirSync(join(rootfs, "tmp"));
    chmodSync(join(rootfs, "tmp"), 0o1775);
    const run = runInit([
      ...begin(),
      ["target", 5, 3, "/tmp", DIRECTORY, 0, 0],
      ["fsmountLike", 6, "tmpfs", 0, ["source=tmpfs", "size=64k"], 5],
      ["attach", 6, 5],
      ["pivot", 3],
      ...end("ls -ld /tmp"),
    ]);
    expect(run.failure).toBeUndefined();
    expect(output()[0]?.slice(0, 10)).toBe("drwxrwxr-t");
  });

  root("loopback is up in a new network namespace", () => {
    const run = runInit([
      ...begin(NEWNET),
      ["loopback"],
      ...mountOn("/proc", "proc"),
      ["pivot", 3],
      ...end("cat /proc/net/if_inet6 /proc/net/dev"),
    ]);
    expect(run.failure).toBeUndefined();
    expect(output().join("\n")).toContain("lo:");
    expect(output().some((line) => line.startsWith("00000000000000000000000000000001"))).toBe(true);
  });

  root("identity and the five capability sets are as asked; the ambient set lives through the exec", () => {
    chmodSync(join(rootfs, "out"), 0o777);
    const run = runInit([
      ...begin(),
      ...mountOn("/proc", "proc"),
      ["pivot", 3],
      ["boundingSet", 0x420n],
      ["user", 1000, 1001, 1, ["5", "4294967294"]],
      ["capabilities", 0x400n, 0x420n, 0x20n, 0x20n],
      ...end("exec cat /proc/self/status"),
    ]);
    expect(run.failure).toBeUndefined();
    const status = new Map(output().map((line) => [line.split(":")[0], line.split("\t").slice(1).join(" ").trim()]));
    expect(status.get("Uid")).toBe("1000 1000 1000 1000");
    expect(status.get("Gid")).toBe("1001 1001 1001 1001");
    expect(status.get("Groups")).toBe("5 4294967294");
    const sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((name) =>
      Number.parseInt(status.get(name) ?? "", 16),
    );
    // An exec of a plain file by an ordinary user keeps the ambient set alone (capabilities(7)).
    expect(sets).toEqual([0x20, 0x20, 0x20, 0x420, 0x20]);
  });

  root("a user namespace gets its ids from the runtime and the process becomes its root", () => {
    const run = runInit(
      [
        ["clone", NEWUSER | NEWNS | NEWPID, -1],
        ["dumpable", 1],
        ["await", 1],
        ["become", 0, 0, 1],
        ["dumpable", 0],
        ...begin().slice(1),
        ...mountOn("/proc", "proc"),
        ["pivot", 3],
        ...end("id -u; cat /proc/self/uid_map"),
      ],
      {
        onAwait: (_tag, pid) => {
          writeFileSync(`/proc/${pid}/uid_map`, "0 0 1\n");
          writeFileSync(`/proc/${pid}/gid_map`, "0 0 1\n");
        },
      },
    );
    expect(run.failure).toBeUndefined();
    expect(output().map((line) => line.trim().split(/\s+/).join(" "))).toEqual(["0", "0 0 1"]);
  });
});

describe("native/terminal", () => {
  const pts: () => HandStep[] = () => mountOn("/dev/pts", "devpts", ["newinstance", "ptmxmode=0666", "mode=0620"]);

  root("the terminal is of the container's own devpts, on its console, and its master reaches the runtime", () => {
    const run = runInit([
      ...begin(),
      ...mountOn("/proc", "proc"),
      ...mountOn("/dev", "tmpfs", ["mode=0755"]),
      ["mknod", 3, "/dev/tty", 0o020666, 5 << 8, 0, 0],
      ...pts(),
      ["pty", 20, 3],
      ["console", 20, 3],
      ["winsize", 20, 12, 34],
      ["pivot", 3],
      ["setsid"],
      ["fchown", 20, 5, 6],
      ["controllingTerminal", 20],
      ["findExecutable", ["/bin/sh"]],
      ["cloexecFrom", 3],
      [
        "exec",
        [
          "sh",
          "-c",
          "{ tty; stty size; ls -n /dev/pts/0; echo there > /dev/tty; } > /out/log 2>&1; echo here > /dev/console",
        ],
        ["PATH=/bin"],
      ],
    ]);
    expect(run.failure).toBeUndefined();
    const [tty, size, node] = output();
    expect([size, node?.split(/\s+/).slice(2, 4)]).toEqual(["12 34", ["5", "6"]]);
    expect(tty === undefined).toBe(false);
    expect(run.fds.length).toBe(1);
    const [master = -1] = run.fds;
    const buffer = new Uint8Array(100);
    expect(Buffer.from(buffer.subarray(0, read(master, buffer))).toString()).toBe("there\r\nhere\r\n");
    close(master);
  });

  root("a /dev/pts that is no devpts gives no terminal", () => {
    mkdirSync(join(rootfs, "dev/pts"));
    writeFileSync(join(rootfs, "dev/pts/ptmx"), "");
    const plan: HandStep[] = [...begin(), ["pty", 20, 3]];
    expectFailure(runInit(plan), "pty", "EINVAL", plan);
  });

  root("links in the way to the terminal are refused", () => {
    mkdirSync(join(rootfs, "elsewhere"));
    symlinkSync("/elsewhere", join(rootfs, "dev/pts"));
    const plan: HandStep[] = [...begin(), ["pty", 20, 3]];
    expectFailure(runInit(plan), "pty", "ELOOP", plan);
  });

  root("a link in place of the console is refused and leads nowhere", () => {
    symlinkSync("/etc/target", join(rootfs, "dev/console"));
    writeFileSync(join(rootfs, "etc/target"), "kept");
    const plan: HandStep[] = [...begin(), ...pts(), ["pty", 20, 3], ["console", 20, 3]];
    const run = runInit(plan);
    for (const fd of run.fds) close(fd);
    expectFailure(run, "console", "ELOOP", plan);
    expect(readFileSync(join(rootfs, "etc/target"), "utf8")).toBe("kept");
  });

  root("a dangling link in place of the console makes nothing elsewhere", () => {
    symlinkSync("/etc/made", join(rootfs, "dev/console"));
    const plan: HandStep[] = [...begin(), ...pts(), ["pty", 20, 3], ["console", 20, 3]];
    const run = runInit(plan);
    for (const fd of run.fds) close(fd);
    expectFailure(run, "console", "ELOOP", plan);
    expect(existsSync(join(rootfs, "etc/made"))).toBe(false);
    expect(lstatSync(join(rootfs, "dev/console")).isSymbolicLink()).toBe(true);
  });
});

describe("native/cleanup, privileged", () => {
  root("a tree with a mount in it is refused, and what is mounted is kept", async () => {
    const dir = scratch("cleanup");
    const kept = scratch("kept");
    writeFileSync(join(kept, "file"), "kept");
    mkdirSync(join(dir, "tree/sub/mounted"), { recursive: true });
    mkdirSync(join(dir, "top"));
    for (const at of ["tree/sub/mounted", "top"]) execFileSync("mount", ["--bind", kept, join(dir, at)]);
    try {
      const cleanup = ["tree", "top", "tree/sub/mounted"].map((name) => ["t", join(dir, name)]);
      const run = startMonitor(dir, "exit 6", { cleanup });
      expect(await run.code).toBe(6);
      expect(run.errors().trim().split("\n")).toEqual([
        `tsrun: remove ${join(dir, "tree")}: EBUSY (errno 16)`,
        `tsrun: remove ${join(dir, "top")}: EBUSY (errno 16)`,
        `tsrun: remove ${join(dir, "tree/sub/mounted")}: EBUSY (errno 16)`,
      ]);
      expect(readFileSync(join(kept, "file"), "utf8")).toBe("kept");
    } finally {
      for (const at of ["tree/sub/mounted", "top"]) execFileSync("umount", [join(dir, at)]);
    }
  });

  for (const hierarchy of ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"]) {
    needs({ root: true, files: [`${hierarchy}/cgroup.procs`] })(
      `a cgroup is emptied and removed with those below it, in ${hierarchy}`,
      async () => {
        const group = join(hierarchy, TEST_PREFIX);
        mkdirSync(join(group, "a/b"), { recursive: true });
        mkdirSync(join(group, "c"));
        const stay = (at: string) => `sh -c 'echo $$ > ${join(group, at, "cgroup.procs")}; exec sleep 60' &`;
        const count = `$(cat ${group}/c/cgroup.procs ${group}/a/b/cgroup.procs | wc -l)`;
        const run = startMonitor(
          scratch("cleanup"),
          `${stay("a/b")} ${stay("c")} until test "${count}" = 2; do :; done`,
          { cleanup: ["k", "c", "c"].map((op) => [op, group]) },
        );
        expect(await run.code).toBe(0);
        expect(run.errors()).toBe("");
        expect(existsSync(group)).toBe(false);
      },
    );
  }
});
