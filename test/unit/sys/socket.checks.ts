import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import { SOCK_STREAM } from "../../../src/sys/constants.ts";
import { close, memfdCreate, readText, seek, write } from "../../../src/sys/file.ts";
import * as socket from "../../../src/sys/socket.ts";

const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function inScratch(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-socket-"));
    try {
      body(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

function talk(path: string, type?: socket.SocketType): void {
  const options = type === undefined ? {} : { type };
  const listener = socket.unixListen(path, options);
  const client = socket.unixConnect(path, type);
  const server = socket.accept(listener);
  socket.sendMsg(client, "hello");
  assert.equal(text(socket.recvData(server)), "hello");
  for (const fd of [listener, client, server]) close(fd);
}

export const checks = {
  "messages keep their bounds, and their end is an empty one": () => {
    const [a, b] = socket.socketpair();
    socket.sendMsg(a, "one");
    socket.sendMsg(a, Uint8Array.of(0, 255));
    close(a);
    assert.equal(text(socket.recvMessage(b).data), "one");
    assert.deepEqual([...socket.recvMessage(b).data], [0, 255]);
    assert.equal(socket.recvMessage(b).data.length, 0);
    close(b);
  },

  "descriptors arrive close-on-exec and are the ones sent": () => {
    const [a, b] = socket.socketpair();
    const sent = ["first", "second", "third"].map((name) => {
      const fd = memfdCreate(name);
      write(fd, name);
      return fd;
    });
    socket.sendMsg(a, "three", sent);
    for (const fd of sent) close(fd);
    const { data, fds } = socket.recvMessage(b);
    assert.equal(text(data), "three");
    assert.equal(fds.length, 3);
    const names = fds.map((fd) => {
      assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"), /flags:\s*02/);
      seek(fd, 0);
      const name = readText(fd);
      close(fd);
      return name;
    });
    assert.deepEqual(names, ["first", "second", "third"]);
    close(a);
    close(b);
  },

  "more descriptors than wanted are refused, and none stays open": () => {
    const [a, b] = socket.socketpair();
    const fd = memfdCreate("extra");
    const before = readdirSync("/proc/self/fd").length;
    for (const wanted of [0, 1, 2, 3]) {
      for (const count of [1, 2, 3, 4, 5]) {
        socket.sendMsg(a, "x", new Array(count).fill(fd));
        if (count > wanted) failsWith("EMSGSIZE", () => socket.recvMessage(b, 16, wanted));
        else for (const received of socket.recvMessage(b, 16, wanted).fds) close(received);
      }
    }
    socket.sendMsg(a, "x", [fd]);
    assert.equal(text(socket.recvData(b)), "x");
    assert.equal(readdirSync("/proc/self/fd").length, before);
    for (const open of [a, b, fd]) close(open);
  },

  "a message longer than the room for it is refused, not cut": () => {
    const [a, b] = socket.socketpair();
    socket.sendMsg(a, "0123456789");
    failsWith("EMSGSIZE", () => socket.recvMessage(b, 9));
    socket.sendMsg(a, "0123456789");
    assert.equal(text(socket.recvMessage(b, 10).data), "0123456789");
    close(a);
    close(b);
  },

  "sending to a closed end is EPIPE and no signal": () => {
    const [a, b] = socket.socketpair();
    close(b);
    failsWith("EPIPE", () => socket.sendMsg(a, "x"));
    close(a);
  },

  "a socket at a path talks, as messages and as a stream": inScratch((directory) => {
    talk(join(directory, "seq"));
    talk(join(directory, "stream"), SOCK_STREAM);
  }),

  "paths of any length work": inScratch((directory) => {
    const deep = join(directory, "d".repeat(100), "e".repeat(200));
    mkdirSync(deep, { recursive: true });
    talk(join(deep, "s"));
    talk(join(deep, "n".repeat(240)));
    const exact = (length: number) => join(directory, "x".repeat(length - directory.length - 1));
    for (const length of [106, 107, 108, 109]) talk(exact(length));
    assert.deepEqual(readdirSync(deep).sort(), ["n".repeat(240), "s"]);
  }),

  "a name that is taken is EADDRINUSE or EEXIST, and stays": inScratch((directory) => {
    const long = join(directory, "n".repeat(240));
    const first = socket.unixListen(long);
    failsWith("EEXIST", () => socket.unixListen(long));
    const short = join(directory, "s");
    const second = socket.unixListen(short);
    failsWith("EADDRINUSE", () => socket.unixListen(short));
    assert.deepEqual(readdirSync(directory).length, 2);
    close(first);
    close(second);
    failsWith("ECONNREFUSED", () => socket.unixConnect(short));
    failsWith("ENOENT", () => socket.unixConnect(`${short}x`));
    failsWith("EINVAL", () => socket.unixConnect(`${short}\0x`));
    failsWith("EINVAL", () => socket.unixListen(`${short}\0x`));
  }),

  "a socket's file is for its owner alone unless asked otherwise": inScratch((directory) => {
    close(socket.unixListen(join(directory, "own")));
    assert.equal(statSync(join(directory, "own")).mode & 0o777, 0o600);
    const umask = process.umask(0);
    close(socket.unixListen(join(directory, "all"), { mode: 0o666 }));
    process.umask(umask);
    assert.equal(statSync(join(directory, "all")).mode & 0o777, 0o666);
  }),

  "a long text goes through a stream whole": () => {
    const [a, b] = socket.socketpair(SOCK_STREAM);
    const long = new Uint8Array(100_000).fill(7);
    socket.sendMsg(a, long);
    let received = 0;
    while (received < long.length) received += socket.recvMessage(b, 65536).data.length;
    assert.equal(received, long.length);
    close(a);
    close(b);
  },
};
