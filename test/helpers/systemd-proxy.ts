/**
 * Stands between the runtime and systemd's own socket: it knows each message that passes, and can kill the runtime at
 * any of them. A call reaches systemd first; an answer, and the end of a job, never reach the runtime then.
 */
import { spawn } from "node:child_process";
import { createServer, connect as netConnect, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { decodeMessage, METHOD_CALL, type Message, messageLength, SIGNAL } from "../../src/cgroup/systemd/message.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

const SYSTEMD = "/run/systemd/private";

export interface Passed {
  /** "StartTransientUnit", "answer to StartTransientUnit", "end of start-job"... in the order they came. */
  messages: string[];
  /** Of the runtime; null when it was killed. */
  code: number | null;
}

export class SystemdProxy implements AsyncDisposable {
  readonly #path = join(scratch("proxy"), "systemd.sock");
  readonly #server: Server;
  #unit = "";
  #messages: string[] = [];
  /** Kills the runtime if this was the message; says so. */
  #note: (message: string) => boolean = () => false;

  private constructor() {
    this.#server = createServer((client) => this.#relay(client));
  }

  static async open(): Promise<SystemdProxy> {
    const proxy = new SystemdProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(proxy.#path, resolve));
    return proxy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /**
   * Runs the runtime where systemd is reached through this.
   *
   * @param unit whose jobs are of interest
   * @param killAt the number of the message at which it is killed, from 1; without one it is not
   */
  async run(args: readonly string[], unit: string, killAt?: number): Promise<Passed> {
    const script = `mount --bind "$1" ${SYSTEMD} && shift && exec "$@"`;
    const command = ["--mount", "sh", "-c", script, "through-proxy", this.#path, RUNTIME, ...args];
    const child = spawn("unshare", command, { stdio: "ignore" });
    this.#unit = unit;
    this.#messages = [];
    this.#note = (message) => {
      this.#messages.push(message);
      return this.#messages.length === killAt && child.kill("SIGKILL");
    };
    const code = await new Promise<number | null>((resolve) => child.once("exit", resolve));
    return { messages: this.#messages, code };
  }

  #relay(client: Socket): void {
    const systemd = netConnect(SYSTEMD);
    const asked = new Map<number, string>();
    let isOver = false;
    const end = () => {
      isOver = true;
      client.destroy();
      systemd.end();
    };
    client.on("error", end).on("close", end);
    systemd.on("error", end).on("close", end);
    onMessages(client, "BEGIN\r\n", (bytes, message) => {
      systemd.write(bytes);
      if (message?.type !== METHOD_CALL) return;
      asked.set(message.serial, String(message.member));
      if (this.#note(String(message.member))) end();
    });
    onMessages(systemd, "\r\nOK ", (bytes, message) => {
      if (isOver) return;
      const name = message && this.#nameOf(message, asked);
      if (name !== undefined && this.#note(name)) end();
      else client.write(bytes);
    });
  }

  /** What systemd says to everybody, or of other units, does not count. */
  #nameOf(message: Message, asked: ReadonlyMap<number, string>): string | undefined {
    if (message.type !== SIGNAL) return `answer to ${asked.get(message.replySerial ?? 0)}`;
    return message.member === "JobRemoved" && message.body[2] === this.#unit ? "end of the job" : undefined;
  }
}

/** Text up to the end of a line that has `last`, then messages. */
function onMessages(socket: Socket, last: string, got: (bytes: Uint8Array, message?: Message) => void): void {
  let rest = Buffer.alloc(0);
  let isText = true;
  socket.on("data", (data: Buffer) => {
    rest = Buffer.concat([rest, data]);
    if (isText) {
      const at = rest.indexOf(last);
      const end = at < 0 ? -1 : rest.indexOf("\n", at + last.length - 1);
      if (end < 0) return;
      isText = false;
      got(rest.subarray(0, end + 1));
      rest = rest.subarray(end + 1);
    }
    for (;;) {
      const length = messageLength(rest);
      if (length === undefined || length > rest.length) return;
      const bytes = rest.subarray(0, length);
      rest = rest.subarray(length);
      got(bytes, decodeMessage(new Uint8Array(bytes)));
    }
  });
}
