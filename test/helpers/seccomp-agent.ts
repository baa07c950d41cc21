/**
 * Who answers the calls that a profile leaves to somebody else: listens at a socket for the listener of a container's
 * filter, and answers what the kernel tells. Rules: OCI config-linux.md "Seccomp"; seccomp_unotify(2).
 */
import { join } from "node:path";
import { POLLIN, SOCK_STREAM } from "../../src/sys/constants.ts";
import { closeQuiet } from "../../src/sys/file.ts";
import { ioctl, pollFd } from "../../src/sys/process.ts";
import { accept, recvMessage, unixListen } from "../../src/sys/socket.ts";
import { setU64, viewOf } from "../../src/sys/structs.ts";
import { scratch } from "./scratch.ts";

const SECCOMP_IOCTL_NOTIF_RECV = 0xc0502100;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc0182101;
const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
const TIMEOUT_MS = 60_000;

/** What the runtime sends beside the listener. */
export interface ProcessState {
  ociVersion: string;
  fds: string[];
  pid: number;
  metadata?: string;
  state: { ociVersion: string; id: string; status: string; pid: number; bundle: string; annotations: object };
}

export interface Notification {
  /** As we see it. */
  pid: number;
  nr: number;
}

export class SeccompAgent implements Disposable {
  readonly path: string;
  readonly #socket: number;
  readonly #open: number[] = [];

  constructor(directory = scratch("agent")) {
    this.path = join(directory, "agent.sock");
    this.#socket = unixListen(this.path, { type: SOCK_STREAM, backlog: 8 });
    this.#open.push(this.#socket);
  }

  /** Waits for a runtime and takes the listener that it sends. */
  receive(): { state: ProcessState; listener: number } {
    expectReadable(this.#socket, "a connection of the runtime");
    const connection = accept(this.#socket);
    this.#open.push(connection);
    const { data, fds } = recvMessage(connection, 65536);
    this.#open.push(...fds);
    // One message for a connection, and its end.
    const rest = recvMessage(connection);
    if (fds.length !== 1 || rest.data.length !== 0) throw new Error(`${fds.length} descriptors, and more data`);
    return { state: JSON.parse(new TextDecoder().decode(data)), listener: fds[0] as number };
  }

  /** Waits for a call; false when every process that could make one has ended. */
  isAsked(listener: number): boolean {
    return (pollFd(listener, POLLIN, TIMEOUT_MS) & POLLIN) !== 0;
  }

  /** Waits for a call and decides it: an errno that it fails with, or "continue". */
  answer(listener: number, verdict: number | "continue"): Notification {
    expectReadable(listener, "a notification");
    const notification = new Uint8Array(80);
    ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification);
    const told = viewOf(notification);
    const response = new Uint8Array(24);
    const view = viewOf(response);
    setU64(view, 0, told.getBigUint64(0, true));
    if (verdict === "continue") view.setUint32(20, SECCOMP_USER_NOTIF_FLAG_CONTINUE, true);
    else view.setInt32(16, -verdict, true);
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response);
    return { pid: told.getUint32(8, true), nr: told.getInt32(16, true) };
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.splice(0)) closeQuiet(fd);
  }
}

function expectReadable(fd: number, what: string): void {
  if (pollFd(fd, POLLIN, TIMEOUT_MS) === 0) throw new Error(`${what} did not come in ${TIMEOUT_MS} ms`);
}
