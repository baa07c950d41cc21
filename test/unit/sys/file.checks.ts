import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import * as k from "../../../src/sys/constants.ts";
import * as file from "../../../src/sys/file.ts";

function inScratch(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-file-"));
    try {
      body(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

const flagsOf = (fd: number) =>
  Number.parseInt(/flags:\s*([0-7]+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "", 8);
const isCloexec = (fd: number) => (flagsOf(fd) & k.O_CLOEXEC) !== 0;
const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));

export const checks = {
  "every descriptor is close-on-exec from birth": inScratch((directory) => {
    const fds = [
      file.open(directory, k.O_PATH),
      file.openat(-100, directory, k.O_RDONLY),
      file.openat2(-100, directory, { flags: k.O_PATH, resolve: 0 }),
      file.memfdCreate("birth"),
      file.dup(0),
    ];
    for (const fd of fds) {
      assert.ok(isCloexec(fd), `descriptor ${fd}`);
      file.close(fd);
    }
  }),

  "setCloexec turns the flag off and on": () => {
    const fd = file.memfdCreate("flag");
    file.setCloexec(fd, false);
    assert.equal(isCloexec(fd), false);
    file.setCloexec(fd, true);
    assert.equal(isCloexec(fd), true);
    file.close(fd);
  },

  "what was written is read back, with any bytes": inScratch((directory) => {
    const path = join(directory, "text");
    const fd = file.open(path, k.O_RDWR | k.O_CREAT | k.O_EXCL, 0o640);
    file.write(fd, "grüße\0\n", path);
    file.write(fd, Uint8Array.of(0xff, 0x80));
    file.write(fd, "");
    file.seek(fd, 0);
    assert.deepEqual([...file.readAll(fd)], [...Buffer.from("grüße\0\n"), 0xff, 0x80]);
    assert.equal(statSync(path).mode & 0o777, 0o640);
    file.close(fd);
  }),

  "a file larger than any buffer is read whole": () => {
    const fd = file.memfdCreate("large");
    const bytes = new Uint8Array(300_001).map((_, index) => index % 251);
    file.write(fd, bytes);
    file.seek(fd, 0);
    assert.ok(Buffer.from(bytes).equals(file.readAll(fd)));
    file.close(fd);
  },

  "Fd closes at the end of its block, and not what was released": () => {
    let kept: number;
    let closed: number;
    {
      using first = new file.Fd(file.memfdCreate("closed"));
      using second = new file.Fd(file.memfdCreate("kept"));
      closed = first.fd;
      kept = second.release();
    }
    assert.equal(file.isOpen(closed), false);
    assert.equal(file.isOpen(kept), true);
    file.close(kept);
  },

  "closing twice is an error, and closeQuiet says nothing": () => {
    const fd = file.memfdCreate("twice");
    file.close(fd);
    failsWith("EBADF", () => file.close(fd));
    file.closeQuiet(fd);
    file.closeQuiet(-1);
    file.closeQuiet(undefined);
  },

  "entries are made, linked, renamed and removed by descriptor": inScratch((directory) => {
    const at = file.open(directory, k.O_PATH | k.O_DIRECTORY);
    file.mkdirat(at, "dir", 0o711);
    file.mknodat(at, "fifo", k.S_IFIFO | 0o600);
    file.symlinkat("../target", at, "link");
    file.linkat(at, "fifo", at, "fifo2");
    file.renameat(at, "fifo2", at, "fifo3");
    assert.equal(file.readlinkat(at, "link"), "../target");
    assert.equal(file.statx(at, "link").mode & k.S_IFMT, k.S_IFLNK);
    assert.equal(file.statx(at, "fifo3").nlink, 2);
    assert.equal(file.statx(at, "dir").mode & 0o7777, 0o711);
    failsWith("EEXIST", () => file.renameat(at, "fifo", at, "fifo3", 1));
    failsWith("ENOTDIR", () => file.unlinkat(at, "link", k.AT_REMOVEDIR));
    file.unlinkat(at, "dir", k.AT_REMOVEDIR);
    for (const name of ["link", "fifo", "fifo3"]) file.unlinkat(at, name);
    failsWith("ENOENT", () => file.unlinkat(at, "link"));
    file.close(at);
  }),

  "statx tells what fstat tells": inScratch((directory) => {
    writeFileSync(join(directory, "f"), "12345");
    const ours = file.statx(-100, join(directory, "f"));
    const node = statSync(join(directory, "f"));
    assert.deepEqual(
      [ours.mode, ours.uid, ours.gid, ours.ino, ours.size, ours.nlink, ours.blocks],
      [node.mode, node.uid, node.gid, node.ino, node.size, node.nlink, node.blocks],
    );
    assert.equal(file.makedev(ours.devMajor, ours.devMinor), node.dev);
    const nul = file.statx(-100, "/dev/null");
    assert.deepEqual([nul.rdevMajor, nul.rdevMinor], [1, 3]);
  }),

  "device numbers are those of the kernel": () => {
    assert.equal(file.makedev(1, 3), 0x103);
    assert.equal(file.makedev(8, 300), 0x10082c);
    assert.equal(file.makedev(0xfff, 0xfffff), 0xffff_ffff);
  },

  "the mount id is the one of mountinfo": () => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    const proc = mounts.filter((line) => line.split(" ")[4] === "/proc").pop();
    const fd = file.open("/proc", k.O_PATH);
    assert.equal(file.mountId(fd), Number(proc?.split(" ")[0]));
    file.close(fd);
  },

  "a mount point is told from a directory and from a link to one": inScratch((directory) => {
    symlinkSync("/proc", join(directory, "link"));
    assert.equal(file.isMountPoint("/proc"), true);
    assert.equal(file.isMountPoint("/"), true);
    assert.equal(file.isMountPoint("/proc/self"), false);
    assert.equal(file.isMountPoint(directory), false);
    assert.equal(file.isMountPoint(join(directory, "link")), false);
    failsWith("ENOENT", () => file.isMountPoint(join(directory, "missing")));
  }),

  "a sealed memfd cannot be written, cut or grown": () => {
    const fd = file.memfdCreate("sealed", { executable: true });
    file.write(fd, "text");
    file.addSeals(fd, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE);
    failsWith("EPERM", () => file.write(fd, "more"));
    failsWith("EPERM", () => file.addSeals(fd, k.F_SEAL_WRITE));
    file.close(fd);
  },

  "a directory lock keeps others out until it is disposed of": inScratch((directory) => {
    const first = file.flockDir(directory);
    failsWith("EAGAIN", () => file.flockDir(directory, { nonBlock: true }));
    first[Symbol.dispose]();
    const shared = file.flockDir(directory, { exclusive: false });
    using _other = file.flockDir(directory, { exclusive: false, nonBlock: true });
    failsWith("EAGAIN", () => file.flockDir(directory, { nonBlock: true }));
    shared[Symbol.dispose]();
  }),

  "a failed lock leaves no descriptor open": inScratch((directory) => {
    using _lock = file.flockDir(directory);
    const before = file.dup(0);
    file.close(before);
    failsWith("EAGAIN", () => file.flockDir(directory, { nonBlock: true }));
    const after = file.dup(0);
    file.close(after);
    assert.equal(after, before);
  }),

  "one write is one system call": () => {
    const fd = file.open("/proc/self/oom_score_adj", k.O_WRONLY);
    failsWith("EINVAL", () => file.writeOnce(fd, "1x"));
    file.close(fd);
    const full = file.open("/dev/full", k.O_WRONLY);
    failsWith("ENOSPC", () => file.writeOnce(full, "x", "/dev/full"));
    file.close(full);
    const none = file.open("/dev/null", k.O_WRONLY);
    file.writeOnce(none, "");
    file.writeOnce(none, "some");
    file.close(none);
  },
};
