/**
 * Readiness as systemd has it: a process says READY=1 to the socket of $NOTIFY_SOCKET. A container says so to a socket
 * of its own, and it is passed on with the container's process as the main one. Rules: sd_notify(3),
 * sd_notify_barrier(3); as runc does. In the foreground native/notify.c does the same.
 */
import { POLLIN, SOCK_DGRAM } from "../sys/constants.ts";
import { closeQuiet, read } from "../sys/file.ts";
import { poll, pollFd } from "../sys/process.ts";
import { abstractConnect, pipe, sendMsg, unixConnect } from "../sys/socket.ts";

/** As systemd reads them. */
const MESSAGE_BYTES = 4096;
const BARRIER_TIMEOUT_MS = 30_000;

/** A socket to whoever waits for us to be ready: a path or, for who is not on this machine's disk, "@name". @throws SyscallError */
export function connectNotify(address: string): number {
  return address.startsWith("@") ? abstractConnect(address.slice(1), SOCK_DGRAM) : unixConnect(address, SOCK_DGRAM);
}

/** The line of a message that says whether the sender is ready; undefined when none does. */
export function readyLine(message: string): string | undefined {
  return message.split("\n").find((line) => line.startsWith("READY=") && line.length > 6);
}

export interface Relay {
  /** That of the container. */
  socket: number;
  /** What connectNotify gave. */
  host: number;
  /** The container's process as the host sees it. */
  pid: number;
  /** undefined when it has ended: then only what was said already counts. */
  pidFd: number | undefined;
}

/** Waits until the container is ready, or has ended, and passes that on. */
export function relayReadiness({ socket, host, pid, pidFd }: Relay): void {
  const buffer = new Uint8Array(MESSAGE_BYTES);
  const end = pidFd === undefined ? [] : [{ fd: pidFd, events: POLLIN }];
  for (;;) {
    const [said, ended = 1] = poll([{ fd: socket, events: POLLIN }, ...end], pidFd === undefined ? 0 : -1);
    if (said) {
      const line = readyLine(new TextDecoder().decode(buffer.subarray(0, read(socket, buffer))));
      if (line === undefined) continue;
      sendMsg(host, `${line}\nMAINPID=${pid}\n`);
      barrier(host);
      return;
    }
    if (ended) return;
  }
}

/** Until what was said is understood: of a process that is gone nobody knows which service it was of. */
function barrier(host: number): void {
  const [readEnd, writeEnd] = pipe();
  try {
    sendMsg(host, "BARRIER=1", [writeEnd]);
  } finally {
    closeQuiet(writeEnd);
  }
  pollFd(readEnd, POLLIN, BARRIER_TIMEOUT_MS);
  closeQuiet(readEnd);
}
