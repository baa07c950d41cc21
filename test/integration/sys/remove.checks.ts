import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno, type SyscallError } from "../../../src/errors.ts";
import * as k from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { mount, umount2 } from "../../../src/sys/mount.ts";
import { ioctl } from "../../../src/sys/process.ts";
import { removeTree } from "../../../src/sys/remove.ts";

const FS_IOC_SETFLAGS = 0x4008_6602;
const FS_IMMUTABLE_FL = 0x10;

function inTmpfs(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-remove-"));
    mount("test", directory, "tmpfs", 0, null);
    try {
      body(directory);
    } finally {
      umount2(directory, k.MNT_DETACH);
      rmdirSync(directory);
    }
  };
}

function refuses(path: string, code: string, directory: string, name: string): void {
  assert.throws(
    () => removeTree(directory, name),
    (error: SyscallError) => {
      assert.equal(error.code, code, String(error));
      assert.equal(error.path, path);
      assert.ok(error.fix !== undefined);
      return true;
    },
  );
}

export const checks = {
  "a filesystem left mounted in the tree keeps all it has": inTmpfs((directory) => {
    const at = join(directory, "tree/rootfs/mnt");
    mkdirSync(at, { recursive: true });
    mount("inner", at, "tmpfs", 0);
    writeFileSync(join(at, "precious"), "kept");
    refuses(at, "EXDEV", directory, "tree");
    assert.deepEqual(readdirSync(at), ["precious"]);
    umount2(at);
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "a bind of the same filesystem keeps all it has": inTmpfs((directory) => {
    mkdirSync(join(directory, "source/sub"), { recursive: true });
    writeFileSync(join(directory, "source/precious"), "kept");
    const at = join(directory, "tree/bind");
    mkdirSync(at, { recursive: true });
    mount(join(directory, "source"), at, null, k.MS_BIND);
    refuses(at, "EXDEV", directory, "tree");
    assert.deepEqual(readdirSync(join(directory, "source")).sort(), ["precious", "sub"]);
  }),

  "a file with a mount on it is named": inTmpfs((directory) => {
    mkdirSync(join(directory, "tree"));
    const file = join(directory, "tree/file");
    writeFileSync(file, "");
    mount("/dev/null", file, null, k.MS_BIND);
    refuses(file, "EXDEV", directory, "tree");
    assert.ok(existsSync("/dev/null"));
  }),

  "a mount at the name itself is refused, whatever is in it": inTmpfs((directory) => {
    const at = join(directory, "tree");
    mkdirSync(at);
    mount("inner", at, "tmpfs", 0);
    refuses(at, "EXDEV", directory, "tree");
    umount2(at);
  }),

  "a mount behind a thousand other names is not missed": inTmpfs((directory) => {
    for (let index = 0; index < 1000; index++) mkdirSync(join(directory, `tree/${index}`), { recursive: true });
    const at = join(directory, "tree/777");
    mount("inner", at, "tmpfs", 0);
    writeFileSync(join(at, "precious"), "kept");
    refuses(at, "EXDEV", directory, "tree");
    assert.deepEqual(readdirSync(at), ["precious"]);
    umount2(at);
  }),

  "an immutable file is named, with what to do": inTmpfs((directory) => {
    mkdirSync(join(directory, "tree/sub"), { recursive: true });
    const path = join(directory, "tree/sub/fixed");
    writeFileSync(path, "");
    using file = new Fd(open(path, k.O_RDONLY));
    try {
      ioctl(file.fd, FS_IOC_SETFLAGS, Uint8Array.of(FS_IMMUTABLE_FL, 0, 0, 0, 0, 0, 0, 0));
    } catch (error) {
      // Before Linux 6.6 a tmpfs has no such flags.
      if (isErrno(error, "ENOTTY", "EOPNOTSUPP")) return;
      throw error;
    }
    refuses(path, "EPERM", directory, "tree");
    ioctl(file.fd, FS_IOC_SETFLAGS, new Uint8Array(8));
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "the work directory of an overlay goes": inTmpfs((directory) => {
    for (const name of ["lower", "tree/upper", "tree/work", "merged"])
      mkdirSync(join(directory, name), { recursive: true });
    writeFileSync(join(directory, "lower/file"), "lower");
    const merged = join(directory, "merged");
    const options = `lowerdir=${directory}/lower,upperdir=${directory}/tree/upper,workdir=${directory}/tree/work`;
    mount("overlay", merged, "overlay", 0, options);
    removeTree(merged, "file");
    umount2(merged);
    assert.deepEqual(readdirSync(join(directory, "tree/upper")), ["file"], "a whiteout");
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory).sort(), ["lower", "merged"]);
  }),

  "somebody else who removes the same tree disturbs nothing": inTmpfs((directory) => {
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 60; index++) mkdirSync(join(directory, `tree/${index}/a/b/c`), { recursive: true });
      const other = spawn("rm", ["-rf", join(directory, "tree")], { stdio: "ignore" });
      removeTree(directory, "tree");
      assert.equal(existsSync(join(directory, "tree")), false);
      spawnSync("sh", [
        "-c",
        `while kill -0 ${other.pid} 2>/dev/null && ! grep -q Z /proc/${other.pid}/stat; do :; done`,
      ]);
    }
  }),

  "a directory that trades places with a link leads nowhere": inTmpfs((directory) => {
    mkdirSync(join(directory, "outside/sub"), { recursive: true });
    for (let index = 0; index < 50; index++) writeFileSync(join(directory, `outside/sub/${index}`), "kept");
    const script = `cd ${directory}; while :; do mv tree/d/swap tree/d/away; ln -s ../../outside tree/d/swap; rm tree/d/swap; mv tree/d/away tree/d/swap; done`;
    const attacker = spawn("sh", ["-c", script], { stdio: "ignore" });
    try {
      for (let round = 0; round < 40; round++) {
        mkdirSync(join(directory, "tree/d/swap/sub/a"), { recursive: true });
        for (let index = 0; index < 20; index++) mkdirSync(join(directory, `tree/d/x${index}/y`), { recursive: true });
        try {
          removeTree(directory, "tree");
        } catch (error) {
          // A directory that is refilled again and again is given up.
          if (!isErrno(error, "ENOTEMPTY", "ESTALE")) throw error;
        }
      }
    } finally {
      attacker.kill("SIGKILL");
    }
    assert.equal(readdirSync(join(directory, "outside/sub")).length, 50);
  }),
};
