import assert from "node:assert/strict";
import { SyscallError } from "../../../src/errors.ts";
import { cString } from "../../../src/sys/call.ts";
import { O_PATH } from "../../../src/sys/constants.ts";
import { addressOf, syscall } from "../../../src/sys/ffi.ts";
import { open, statx } from "../../../src/sys/file.ts";
import { SYS } from "../../../src/sys/numbers.ts";

const thrown = (body: () => unknown): SyscallError => {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof SyscallError, String(error));
    return error;
  }
  assert.fail("nothing was thrown");
};

export const checks = {
  "a failure names the operation, the path and the errno": () => {
    const error = thrown(() => open("/nowhere/at/all", O_PATH));
    assert.equal(error.operation, "open");
    assert.equal(error.path, "/nowhere/at/all");
    assert.equal(error.code, "ENOENT");
  },

  "a path with a NUL byte is refused and not cut": () => {
    const error = thrown(() => statx(-100, "/etc\0/passwd"));
    assert.equal(error.code, "EINVAL");
    assert.equal(error.path, "/etc\\0/passwd");
    assert.equal(thrown(() => statx(-100, Uint8Array.of(0x2f, 0, 0x61))).code, "EINVAL");
  },

  "text becomes UTF-8 with a NUL behind it": () => {
    assert.deepEqual([...cString("ä/€", "test")], [0xc3, 0xa4, 0x2f, 0xe2, 0x82, 0xac, 0]);
    assert.deepEqual([...cString("", "test")], [0]);
  },

  "bytes that are no UTF-8 stay as they are": () => {
    assert.deepEqual([...cString(Uint8Array.of(0xff, 0xfe), "test")], [0xff, 0xfe, 0]);
  },

  "negative numbers and numbers above 2^31 arrive as they are": () => {
    // lseek on a memory file answers with the offset it was given.
    const name = cString("numbers", "test");
    const fd = syscall(SYS.memfd_create, name, 1);
    for (const offset of [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40 + 1]) {
      assert.equal(syscall(SYS.lseek, fd, offset, 0), offset);
    }
    assert.equal(syscall(SYS.lseek, fd, -1, 0), -22);
    assert.equal(syscall(SYS.lseek, fd, -(2 ** 40), 1), 1);
    assert.equal(syscall(SYS.lseek, fd, 7n, 0), 7);
    assert.equal(syscall(SYS.lseek, fd, 0xffff_ffff_ffff_ffffn, 0), -22);
    syscall(SYS.close, fd);
  },

  "a part of a buffer is passed by the address of that part": () => {
    const whole = new Uint8Array(64);
    const part = whole.subarray(16);
    assert.equal(addressOf(part) - addressOf(whole), 16);
    const fd = syscall(SYS.memfd_create, cString("part", "test"), 1);
    syscall(SYS.write, fd, Uint8Array.of(1, 2, 3), 3);
    syscall(SYS.lseek, fd, 0, 0);
    assert.equal(syscall(SYS.read, fd, part, 3), 3);
    assert.deepEqual([...whole.subarray(14, 20)], [0, 0, 1, 2, 3, 0]);
    syscall(SYS.close, fd);
  },
};
