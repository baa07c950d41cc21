import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno, type SyscallError } from "../../../src/errors.ts";
import * as k from "../../../src/sys/constants.ts";
import { close, isMountPoint, mountId, open, openat } from "../../../src/sys/file.ts";
import * as m from "../../../src/sys/mount.ts";

const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));

/** A directory with a tmpfs of its own, so that what a test leaves mounted goes with it. */
function inTmpfs(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-mount-"));
    m.mount("test", directory, "tmpfs", k.MS_NOSUID, "mode=755");
    try {
      body(directory);
    } finally {
      m.umount2(directory, k.MNT_DETACH);
      rmdirSync(directory);
    }
  };
}

const mountLine = (path: string) =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.split(" ")[4] === path)
    .pop() ?? "";

export const checks = {
  "a filesystem is made detached, attached by descriptor and taken off": inTmpfs((directory) => {
    const place = join(directory, "place");
    mkdirSync(place);
    const context = m.fsopen("tmpfs");
    m.fsconfigSet(context, "source", "ours");
    m.fsconfigSet(context, "size", "1m");
    m.fsconfigSet(context, "mode", "0700");
    m.fsconfigCreate(context);
    const tree = m.fsmount(context, k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV);
    assert.equal(isMountPoint(place), false);
    const target = open(place, k.O_PATH);
    m.moveMount(tree, "", target, "");
    assert.equal(isMountPoint(place), true);
    assert.equal(statSync(place).mode & 0o777, 0o700);
    assert.match(mountLine(place), /rw,nosuid,nodev,relatime.* - tmpfs ours rw,size=1024k/);
    assert.equal(mountId(tree), Number(mountLine(place).split(" ")[0]));
    for (const fd of [context, tree, target]) close(fd);
    m.umount2(place);
    assert.equal(isMountPoint(place), false);
  }),

  "what the kernel says about an option is the cause of the error": () => {
    const context = m.fsopen("tmpfs");
    assert.throws(
      () => m.fsconfigSet(context, "size", "many"),
      (error: SyscallError) => {
        assert.equal(error.code, "EINVAL");
        assert.equal(error.path, "size=many");
        assert.match(String(error.cause), /Bad value for 'size'/);
        return true;
      },
    );
    assert.equal(m.readFsLog(context), "");
    close(context);
    failsWith("ENODEV", () => m.fsopen("no-such-filesystem"));
  },

  "a clone of a tree is a bind that goes where it is moved": inTmpfs((directory) => {
    for (const name of ["source", "target"]) mkdirSync(join(directory, name));
    writeFileSync(join(directory, "source/file"), "same");
    const tree = m.openTree(-100, join(directory, "source"), k.OPEN_TREE_CLONE | k.AT_RECURSIVE);
    m.mountSetattr(tree, "", k.AT_RECURSIVE, { set: k.MOUNT_ATTR_RDONLY, propagation: k.MS_PRIVATE });
    m.moveMount(tree, "", -100, join(directory, "target"));
    close(tree);
    assert.equal(readFileSync(join(directory, "target/file"), "utf8"), "same");
    failsWith("EROFS", () => writeFileSync(join(directory, "target/file"), "other"));
    writeFileSync(join(directory, "source/file"), "written at the source");
    m.mountSetattr(-100, join(directory, "target"), 0, { clear: k.MOUNT_ATTR_RDONLY });
    writeFileSync(join(directory, "target/file"), "written at the target");
    assert.equal(isMountPoint(join(directory, "target")), true);
    assert.equal(isMountPoint(join(directory, "source")), false);
  }),

  "mount and umount by path": inTmpfs((directory) => {
    for (const name of ["a", "b"]) mkdirSync(join(directory, name));
    m.mount(join(directory, "a"), join(directory, "b"), null, k.MS_BIND);
    m.mount(null, join(directory, "b"), null, k.MS_REMOUNT | k.MS_BIND | k.MS_RDONLY | k.MS_NOEXEC);
    assert.match(mountLine(join(directory, "b")), / ro,noexec,/);
    m.umount2(join(directory, "b"), k.UMOUNT_NOFOLLOW);
    failsWith("EINVAL", () => m.umount2(join(directory, "b")));
    failsWith("ENOENT", () => m.mount("x", join(directory, "missing"), "tmpfs", 0));
    failsWith("EINVAL", () => m.mount("x", `${directory}\0`, "tmpfs", 0));
  }),

  "a busy mount says so, and is detached all the same": inTmpfs((directory) => {
    const place = join(directory, "busy");
    mkdirSync(place);
    m.mount("busy", place, "tmpfs", 0);
    const held = open(place, k.O_RDONLY);
    failsWith("EBUSY", () => m.umount2(place));
    m.umount2(place, k.MNT_DETACH);
    failsWith("ENOENT", () => openat(held, "nothing", k.O_RDONLY));
    close(held);
  }),

  "a filesystem is reconfigured by the path it is at": inTmpfs((directory) => {
    const context = m.fspick(-100, directory);
    m.fsconfigSet(context, "size", "2m");
    m.fsconfigReconfigure(context);
    close(context);
    assert.match(mountLine(directory), /size=2048k/);
  }),
};
