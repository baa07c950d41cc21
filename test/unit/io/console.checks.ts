import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import { sendConsole, sendPidfd } from "../../../src/io/console.ts";
import { O_NOCTTY, O_RDWR, SOCK_STREAM } from "../../../src/sys/constants.ts";
import { close, open } from "../../../src/sys/file.ts";
import { isTerminal, pidfdOpen, pidfdSendSignal } from "../../../src/sys/process.ts";
import { accept, recvMessage, unixListen } from "../../../src/sys/socket.ts";

function inScratch(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-console-"));
    try {
      body(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

function receive(path: string, send: () => void): { text: string; fd: number } {
  const listener = unixListen(path, { type: SOCK_STREAM });
  send();
  const connection = accept(listener);
  const { data, fds } = recvMessage(connection);
  assert.equal(fds.length, 1, "one descriptor");
  assert.equal(recvMessage(connection).data.length, 0, "and then the end");
  close(connection);
  close(listener);
  return { text: new TextDecoder().decode(data), fd: fds[0] as number };
}

export const checks = {
  "the master of a terminal arrives with its name, through a path of any length": inScratch((directory) => {
    mkdirSync(join(directory, "d".repeat(150)));
    const master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    for (const path of [join(directory, "s"), join(directory, "d".repeat(150), "console.sock")]) {
      const { text, fd } = receive(path, () => sendConsole(path, master));
      assert.equal(text, "/dev/ptmx");
      assert.ok(isTerminal(fd));
      close(fd);
    }
    close(master);
  }),

  "a pidfd arrives and is the process": inScratch((directory) => {
    const path = join(directory, "pidfd.sock");
    const pidFd = pidfdOpen(process.pid);
    const { fd } = receive(path, () => sendPidfd(path, pidFd));
    pidfdSendSignal(fd, 0);
    close(fd);
    close(pidFd);
  }),

  "nobody listening is an error with the path, and leaves no descriptor": inScratch((directory) => {
    const before = readdirSync("/proc/self/fd").length;
    const path = join(directory, "nobody.sock");
    assert.throws(
      () => sendConsole(path, 0),
      (error: unknown) => isErrno(error, "ENOENT") && String(error).includes(path),
    );
    assert.equal(readdirSync("/proc/self/fd").length, before);
  }),
};
