/** Who starts a container and waits until it is ready, as systemd does: the other end of NOTIFY_SOCKET. */
import { join } from "node:path";
import { POLLIN } from "../../src/sys/constants.ts";
import { closeQuiet } from "../../src/sys/file.ts";
import { pollFd } from "../../src/sys/process.ts";
import { recvMessage, unixReceive } from "../../src/sys/socket.ts";
import { scratch } from "./scratch.ts";

const TIMEOUT_MS = 60_000;

export class ServiceManager implements Disposable {
  readonly path = join(scratch("manager"), "notify.sock");
  readonly #socket = unixReceive(this.path);

  /** What the caller of a runtime has in its environment. */
  get env(): Record<string, string> {
    return { NOTIFY_SOCKET: this.path };
  }

  /** Waits for the next message; with it the descriptors beside it are gone, as when systemd has understood it. */
  next(): { text: string; fds: number } {
    if (pollFd(this.#socket, POLLIN, TIMEOUT_MS) === 0) throw new Error(`nothing was said in ${TIMEOUT_MS} ms`);
    const { data, fds } = recvMessage(this.#socket);
    for (const fd of fds) closeQuiet(fd);
    return { text: new TextDecoder().decode(data), fds: fds.length };
  }

  /** Has nobody said anything more? */
  isQuiet(): boolean {
    return pollFd(this.#socket, POLLIN, 0) === 0;
  }

  [Symbol.dispose](): void {
    closeQuiet(this.#socket);
  }
}
