/**
 * The runtime's end of the socket to the native init: messages of 16 bytes, answered with one byte.
 */
import { errnoName } from "../errno.ts";
import { isErrno } from "../errors.ts";
import { MESSAGE } from "../plan/step.ts";
import { closeQuiet } from "../sys/file.ts";
import { recvMessage, sendMsg } from "../sys/socket.ts";

export type InitMessage =
  | { type: "pid"; pid: number }
  | { type: "await"; tag: number; step: number }
  | { type: "fail"; step: number; code: string }
  | { type: "fd"; fd: number; step: number }
  /** Every copy of the other end is closed: the process was executed, or it died. */
  | { type: "eof" };

export class SyncSocket {
  readonly fd: number;
  constructor(fd: number) {
    this.fd = fd;
  }

  /** Waits for the next message. @throws SyscallError */
  next(): InitMessage {
    const { data, fds } = this.#receive();
    if (data.length < 16) return { type: "eof" };
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const step = view.getInt32(4, true);
    const value = view.getInt32(8, true);
    switch (view.getInt32(0, true)) {
      case MESSAGE.PID:
        return { type: "pid", pid: value };
      case MESSAGE.AWAIT:
        return { type: "await", tag: value, step };
      case MESSAGE.FAIL:
        return { type: "fail", step, code: errnoName(value) };
      case MESSAGE.FD:
        return { type: "fd", fd: fds[0] ?? -1, step };
      default:
        return { type: "eof" };
    }
  }

  #receive(): ReturnType<typeof recvMessage> {
    try {
      return recvMessage(this.fd, 16);
    } catch (error) {
      // It died before it had read our answer.
      if (isErrno(error, "ECONNRESET")) return { data: new Uint8Array(), fds: [] };
      throw error;
    }
  }

  /** Lets the init go on after an `await`, with a descriptor where it is to have one. That it has died is for next() to say. */
  answer(fd?: number): void {
    try {
      sendMsg(this.fd, GO, fd === undefined ? [] : [fd]);
    } catch (error) {
      if (!isErrno(error, "EPIPE", "ECONNRESET")) throw error;
    }
  }

  [Symbol.dispose](): void {
    closeQuiet(this.fd);
  }
}

const GO = new Uint8Array([0x2b]);
