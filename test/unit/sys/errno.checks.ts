import assert from "node:assert/strict";
import { O_DIRECTORY, O_NOFOLLOW } from "../../../src/sys/constants.ts";
import { syscall } from "../../../src/sys/ffi.ts";
import { close, memfdCreate, open, read, seek, write } from "../../../src/sys/file.ts";
import { SYS } from "../../../src/sys/numbers.ts";

const AT_FDCWD = -100;
const text = (value: string) => new TextEncoder().encode(`${value}\0`);

/** Makes garbage of many shapes; what it returns keeps a little of it alive for a while. */
function garbage(round: number): unknown {
  const kept: unknown[] = [];
  for (let i = 0; i < 20; i++) {
    kept.push({ [`k${i}`]: `${round}${i}`.repeat(20), list: new Array(50).fill(i) });
    kept.push(new Uint8Array(i * 200));
  }
  return kept;
}

export const checks = {
  "errno is right while garbage is collected": () => {
    const failing: [expected: number, call: () => number][] = [
      [9, () => syscall(SYS.close, -1)],
      [2, () => syscall(SYS.openat, AT_FDCWD, text("/nowhere/at/all"), 0, 0)],
      [20, () => syscall(SYS.openat, AT_FDCWD, text("/proc/self/status/x"), 0, 0)],
      [40, () => syscall(SYS.openat, AT_FDCWD, text("/proc/self"), O_NOFOLLOW, 0)],
      [20, () => syscall(SYS.openat, AT_FDCWD, text("/proc/version"), O_DIRECTORY, 0)],
      [22, () => syscall(SYS.waitid, 99, 1, null, 4, null)],
      [14, () => syscall(SYS.openat, AT_FDCWD, 1, 0, 0)],
      [88, () => syscall(SYS.listen, 0, 1)],
      [17, () => syscall(SYS.mkdirat, AT_FDCWD, text("/proc"), 0o755)],
    ];
    // The descriptor of `listen` must not be a socket, whatever this process was started with.
    const notSocket = memfdCreate("not a socket");
    failing[7] = [88, () => syscall(SYS.listen, notSocket, 1)];
    const recent: unknown[] = [];
    for (let round = 0; round < 4000; round++) {
      recent[round % 64] = garbage(round);
      for (const [expected, call] of failing) {
        const result = call();
        if (result !== -expected) assert.fail(`round ${round}: ${result} where -${expected} was due`);
      }
    }
    close(notSocket);
  },

  "a buffer that only a call in progress holds is not collected": () => {
    const fd = memfdCreate("buffers");
    const recent: unknown[] = [];
    for (let round = 0; round < 3000; round++) {
      recent[round % 16] = garbage(round);
      seek(fd, 0);
      write(fd, new Uint8Array(300).fill(round & 0xff));
      seek(fd, 0);
      const back = new Uint8Array(300);
      assert.equal(read(fd, back), 300);
      if (!back.every((byte) => byte === (round & 0xff))) assert.fail(`round ${round}: other bytes came back`);
    }
    close(fd);
  },

  "paths are what was asked for under the same load": () => {
    const recent: unknown[] = [];
    for (let round = 0; round < 2000; round++) {
      recent[round % 16] = garbage(round);
      close(open("/proc/self/status", 0));
    }
  },
};
