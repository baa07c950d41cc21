/** The other end of a container's terminal: who listens at a console socket, and reads what the container writes. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { isErrno } from "../../src/errors.ts";
import { POLLIN, SOCK_STREAM } from "../../src/sys/constants.ts";
import { closeQuiet, read } from "../../src/sys/file.ts";
import { pollFd } from "../../src/sys/process.ts";
import { accept, recvMessage, unixListen } from "../../src/sys/socket.ts";
import { runDetached } from "./container.ts";
import { scratch } from "./scratch.ts";

/** Runs the runtime with a console socket and takes the descriptor it sends there. */
export function consoleOf(args: (socket: string) => string[], dir = scratch("console")): { fd: number; name: string } {
  mkdirSync(dir, { recursive: true });
  const socket = join(dir, "console.sock");
  const listener = unixListen(socket, { type: SOCK_STREAM });
  const result = runDetached(args(socket));
  if (result.code !== 0) throw new Error(result.stderr());
  const connection = accept(listener);
  const { data, fds } = recvMessage(connection);
  closeQuiet(connection);
  closeQuiet(listener);
  expect(fds).toHaveLength(1);
  return { fd: fds[0] as number, name: new TextDecoder().decode(data) };
}

/** Reads the master of a terminal until it has given the text, its other end is closed, or nothing comes for 20 s. */
export function readUntil(fd: number, text: string): string {
  const buffer = new Uint8Array(4096);
  let all = "";
  while (!all.includes(text)) {
    if (pollFd(fd, POLLIN, 20_000) === 0) break;
    try {
      const length = read(fd, buffer);
      if (length === 0) break;
      all += new TextDecoder().decode(buffer.subarray(0, length));
    } catch (error) {
      if (isErrno(error, "EIO")) break; // Nobody has the slave open any more.
      throw error;
    }
  }
  return all;
}
