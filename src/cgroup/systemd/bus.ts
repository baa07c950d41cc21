/**
 * A connection to systemd's manager: the one of the system or that of a user. Root speaks with it directly, by its
 * private socket; where that is not to be had, by the bus.
 * Rules: D-Bus Specification, "Authentication Protocol"; org.freedesktop.systemd1(5).
 */
import { isErrno, TsrunError } from "../../errors.ts";
import { utf8Bytes, utf8Text } from "../../sys/call.ts";
import { POLLIN, SOCK_STREAM } from "../../sys/constants.ts";
import { closeQuiet } from "../../sys/file.ts";
import { pollFd } from "../../sys/process.ts";
import { recvData, sendMsg, unixConnect } from "../../sys/socket.ts";
import {
  decodeMessage,
  ERROR,
  encodeMessage,
  METHOD_CALL,
  METHOD_RETURN,
  type Message,
  messageLength,
  SIGNAL,
  type Value,
} from "./message.ts";

/** Whose manager: that of the machine, or the one of the user who calls. */
export type BusKind = "system" | "user";

/** Nobody waits longer for systemd: it is then taken to hang. */
const TIMEOUT_MS = 30_000;
/** Nor again as long, when what failed is undone: until it has answered once more. */
const SILENT_TIMEOUT_MS = 1000;

const MANAGER = { destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1" };
const MANAGER_INTERFACE = "org.freedesktop.systemd1.Manager";
const PROPERTIES_INTERFACE = "org.freedesktop.DBus.Properties";
const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};

/** An error that systemd, or the bus, has answered with. */
export class BusError extends TsrunError {
  /** As "org.freedesktop.systemd1.UnitExists". */
  readonly errorName: string;

  constructor(errorName: string, message: string) {
    super(message);
    this.errorName = errorName;
  }
}

export class SystemdBus {
  static #isSilent = false;
  readonly #fd: number;
  #received = new Uint8Array(0);
  #serial = 0;
  /** Signals that came while an answer was waited for. */
  #signals: Message[] = [];

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws TsrunError when no systemd is to be reached */
  static connect(kind: BusKind, env: Readonly<Record<string, string | undefined>>): SystemdBus {
    const failures: unknown[] = [];
    for (const { path, isBus } of addresses(kind, env)) {
      let fd: number;
      try {
        fd = unixConnect(path, SOCK_STREAM);
      } catch (error) {
        if (!isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EPERM", "ECONNREFUSED")) throw error;
        failures.push(error);
        continue;
      }
      const bus = new SystemdBus(fd);
      try {
        bus.#begin(isBus);
        return bus;
      } catch (error) {
        bus[Symbol.dispose]();
        throw error;
      }
    }
    throw new TsrunError(`no ${kind === "user" ? "systemd of this user" : "systemd"} is to be reached`, {
      cause: failures[0],
      fix:
        kind === "user"
          ? "log in with systemd (loginctl enable-linger), or leave out --systemd-cgroup"
          : "this machine may run another init: leave out --systemd-cgroup",
    });
  }

  [Symbol.dispose](): void {
    closeQuiet(this.#fd);
  }

  /** Calls a method of the manager. @throws BusError for the error that it answers with */
  call(member: string, signature: string, body: readonly Value[]): readonly Value[] {
    return this.#call({ ...MANAGER, interface: MANAGER_INTERFACE, member, signature, body });
  }

  /** A property of a unit; @param unitInterface as "org.freedesktop.systemd1.Unit" */
  property(unitPath: string, unitInterface: string, name: string): Value {
    const [variant] = this.#call({
      destination: MANAGER.destination,
      path: unitPath,
      interface: PROPERTIES_INTERFACE,
      member: "Get",
      signature: "ss",
      body: [unitInterface, name],
    });
    return (variant as { value: Value }).value;
  }

  managerProperty(name: string): Value {
    return this.property(MANAGER.path, MANAGER_INTERFACE, name);
  }

  /**
   * How a job ended: "done", "failed", "timeout"... `job` is the object path that StartTransientUnit and StopUnit answer
   * with; its end cannot be missed, as signals are kept from before the call on.
   */
  jobResult(job: string): string {
    for (;;) {
      const known = this.#signals.findIndex(({ member, body }) => member === "JobRemoved" && body[1] === job);
      if (known >= 0) {
        const [signal] = this.#signals.splice(known, 1);
        return String(signal?.body[3]);
      }
      const message = this.#next(`job ${job} of systemd`);
      if (message.type === SIGNAL) this.#signals.push(message);
    }
  }

  #begin(isBus: boolean): void {
    // Who we are the other side knows from the socket: a uid in the text would be wrong in a user namespace.
    sendMsg(this.#fd, "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
    for (const expected of ["DATA", "OK "]) {
      const line = this.#line();
      if (!line.startsWith(expected)) throw new TsrunError(`D-Bus: not let in: ${JSON.stringify(line)}`);
    }
    if (!isBus) return;
    this.#call({ ...BUS, member: "Hello", signature: "", body: [] });
    const rule = `type='signal',path='${MANAGER.path}',interface='${MANAGER_INTERFACE}',member='JobRemoved'`;
    this.#call({ ...BUS, member: "AddMatch", signature: "s", body: [rule] });
    this.call("Subscribe", "", []);
  }

  #call(message: Omit<Message, "type" | "serial">): readonly Value[] {
    const serial = ++this.#serial;
    sendMsg(this.#fd, encodeMessage({ ...message, type: METHOD_CALL, serial }));
    for (;;) {
      const answer = this.#next(`answer to ${message.member}`);
      if (answer.type === SIGNAL) this.#signals.push(answer);
      if (answer.replySerial !== serial) continue;
      if (answer.type === METHOD_RETURN) return answer.body;
      if (answer.type !== ERROR) continue;
      const [text] = answer.body;
      const name = answer.errorName ?? "";
      throw new BusError(name, `systemd: ${message.member}: ${typeof text === "string" ? text : name}`);
    }
  }

  #next(what: string): Message {
    for (;;) {
      const length = messageLength(this.#received);
      if (length !== undefined && this.#received.length >= length) {
        const bytes = this.#received.slice(0, length);
        this.#received = this.#received.slice(length);
        return decodeMessage(bytes);
      }
      this.#receive(what);
    }
  }

  #line(): string {
    for (;;) {
      const end = this.#received.indexOf(10);
      if (end >= 0) {
        const line = utf8Text(this.#received.subarray(0, end)).trimEnd();
        this.#received = this.#received.slice(end + 1);
        return line;
      }
      this.#receive("authentication");
    }
  }

  #receive(what: string): void {
    const timeoutMs = SystemdBus.#isSilent ? SILENT_TIMEOUT_MS : TIMEOUT_MS;
    SystemdBus.#isSilent = pollFd(this.#fd, POLLIN, timeoutMs) === 0;
    if (SystemdBus.#isSilent) {
      throw new TsrunError(`systemd does not answer: waited ${timeoutMs / 1000} s for: ${what}`);
    }
    const data = recvData(this.#fd, 65536);
    if (data.length === 0) throw new TsrunError(`systemd closed the connection: waited for: ${what}`);
    const all = new Uint8Array(this.#received.length + data.length);
    all.set(this.#received);
    all.set(data, this.#received.length);
    this.#received = all;
  }
}

/** Sockets to try, the shortest way first. */
export function addresses(
  kind: BusKind,
  env: Readonly<Record<string, string | undefined>>,
): { path: string; isBus: boolean }[] {
  if (kind === "system") {
    return [
      { path: "/run/systemd/private", isBus: false },
      { path: pathOf(env.DBUS_SYSTEM_BUS_ADDRESS) ?? "/run/dbus/system_bus_socket", isBus: true },
    ];
  }
  const list: { path: string; isBus: boolean }[] = [];
  if (env.XDG_RUNTIME_DIR) list.push({ path: `${env.XDG_RUNTIME_DIR}/systemd/private`, isBus: false });
  const bus = pathOf(env.DBUS_SESSION_BUS_ADDRESS) ?? (env.XDG_RUNTIME_DIR && `${env.XDG_RUNTIME_DIR}/bus`);
  if (bus) list.push({ path: bus, isBus: true });
  return list;
}

/** The path in "unix:path=/run/user/1000/bus,guid=..."; D-Bus Specification, "Server Addresses". */
function pathOf(address: string | undefined): string | undefined {
  for (const one of (address ?? "").split(";")) {
    const path = /^unix:(?:.*,)?path=([^,]*)/.exec(one)?.[1];
    if (path !== undefined) return decodePath(path);
  }
  return undefined;
}

function decodePath(path: string): string {
  if (!path.includes("%")) return path;
  const bytes: number[] = [];
  const encoded = utf8Bytes(path);
  for (let i = 0; i < encoded.length; i++) {
    const byte = encoded[i] as number;
    const hex = byte === 0x25 ? utf8Text(encoded.subarray(i + 1, i + 3)) : "";
    if (/^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else bytes.push(byte);
  }
  return utf8Text(new Uint8Array(bytes));
}
