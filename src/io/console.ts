/**
 * Hands descriptors to a socket that somebody else listens at: the master of a terminal to --console-socket,
 * a pidfd to --pidfd-socket. One SCM_RIGHTS message beside at least one byte of data.
 */
import { isErrno } from "../errors.ts";
import { SOCK_STREAM } from "../sys/constants.ts";
import { Fd } from "../sys/file.ts";
import { existsSync } from "../sys/fs.ts";
import { sendMsg, unixConnect } from "../sys/socket.ts";
import { sleepMs } from "../sys/wait.ts";

/** How long somebody who is started beside us may take until he listens; runc takes some 30 ms to look. */
const BEGIN_MS = 2000;
const BEGIN_STEP_MS = 5;

/**
 * Sends the master of a pty; callers show `name` as the terminal's. A caller who starts who is to listen, and then us,
 * without waiting, gets along with runc: so for a moment a socket that is not there yet is waited for.
 */
export function sendConsole(socketPath: string, masterFd: number, name = "/dev/ptmx"): void {
  using socket = new Fd(connectSoon(socketPath));
  sendMsg(socket.fd, name, [masterFd], socketPath);
}

function connectSoon(path: string): number {
  const end = performance.now() + BEGIN_MS;
  for (;;) {
    try {
      return unixConnect(path, SOCK_STREAM);
    } catch (error) {
      // Bound, and no listener yet, or not even bound.
      if (!isErrno(error, "ENOENT", "ECONNREFUSED") || performance.now() >= end) throw error;
      if (!existsSync(path.slice(0, path.lastIndexOf("/") + 1) || ".")) throw error;
      sleepMs(BEGIN_STEP_MS);
    }
  }
}

/** Sends a descriptor with a text (at least one byte) beside it, and closes the connection. */
export function sendFd(socketPath: string, fd: number, text: string): void {
  using socket = new Fd(unixConnect(socketPath, SOCK_STREAM));
  sendMsg(socket.fd, text, [fd], socketPath);
}

/** Sends the pidfd of a container's process. */
export function sendPidfd(socketPath: string, pidFd: number, name = "pidfd"): void {
  sendFd(socketPath, pidFd, name);
}
