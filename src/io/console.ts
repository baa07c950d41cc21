/**
 * Hands descriptors to a socket that somebody else listens at: the master of a terminal to --console-socket,
 * a pidfd to --pidfd-socket. One SCM_RIGHTS message beside at least one byte of data.
 */
import { SOCK_STREAM } from "../sys/constants.ts";
import { Fd } from "../sys/file.ts";
import { sendMsg, unixConnect } from "../sys/socket.ts";

/** Sends the master of a pty; callers show `name` as the terminal's. */
export function sendConsole(socketPath: string, masterFd: number, name = "/dev/ptmx"): void {
  sendFd(socketPath, masterFd, name);
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
