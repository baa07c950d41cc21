/** Unix sockets, the descriptors sent through them, and pipes. */
import { SyscallError } from "../errors.ts";
import { check, cString, failure, type PathArg, retrying, utf8Bytes } from "./call.ts";
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  POLLOUT,
  SO_SNDTIMEO,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { close, closeQuiet, Fd, fchmod, open, renameat, unlinkat } from "./file.ts";
import { chmodSync } from "./fs.ts";
import { SYS } from "./numbers.ts";
import { pollFd } from "./process.ts";
import { messageBuffer, putRights, SUN_PATH_MAX, sockaddrAbstract, sockaddrUn, takeRights, viewOf } from "./structs.ts";

const EINTR = 4;
const EAGAIN = 11;

/** SOCK_SEQPACKET or SOCK_STREAM. */
export type SocketType = number;

/** socketpair(2) of unix sockets, close-on-exec. */
export function socketpair(type: SocketType = SOCK_SEQPACKET): [number, number] {
  const pair = new Uint8Array(8);
  check(syscall(SYS.socketpair, AF_UNIX, type | SOCK_CLOEXEC, 0, pair), "socketpair");
  const view = viewOf(pair);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}

/** pipe2(2), close-on-exec. */
export function pipe(): [readEnd: number, writeEnd: number] {
  const ends = new Uint8Array(8);
  check(syscall(SYS.pipe2, ends, O_CLOEXEC), "pipe");
  const view = viewOf(ends);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}

export interface ListenOptions {
  type?: SocketType;
  /** Permissions of the socket's file; the umask is taken off. */
  mode?: number;
  backlog?: number;
}

/** A socket that listens at `path`, which must not exist. Paths of any length work. */
export function unixListen(
  path: string,
  { type = SOCK_SEQPACKET, mode = 0o600, backlog = 1 }: ListenOptions = {},
): number {
  const socket = new Fd(newSocket(type));
  try {
    // The mode that the socket has when bind(2) makes its file: no moment with more permissions.
    fchmod(socket.fd, mode, path);
    bind(socket.fd, path);
    check(syscall(SYS.listen, socket.fd, backlog), "listen", path);
    return socket.release();
  } finally {
    socket[Symbol.dispose]();
  }
}

/**
 * A datagram socket that others send to at `path`, which must not exist: whoever may use its directory. Reading does
 * not block. Paths of any length work.
 */
export function unixReceive(path: string): number {
  const socket = new Fd(newSocket(SOCK_DGRAM | SOCK_NONBLOCK));
  try {
    bind(socket.fd, path);
    // The umask would keep others from sending.
    chmodSync(path, 0o777);
    return socket.release();
  } finally {
    socket[Symbol.dispose]();
  }
}

/** Connects to the socket of an abstract name (unix(7)), without the NUL at its start. Who does not read is given up in 10 s. */
export function abstractConnect(name: string, type: SocketType): number {
  const socket = new Fd(newSocket(type));
  try {
    limitWait(socket.fd, PATIENCE_S);
    const sockaddr = sockaddrAbstract(name);
    check(syscall(SYS.connect, socket.fd, sockaddr, sockaddr.length), "connect", `@${name}`);
    return socket.release();
  } finally {
    socket[Symbol.dispose]();
  }
}

/** Who listens and does not accept lets others wait, to connect and to send. */
const PATIENCE_S = 10;

/** Connects to the socket at `path`. Paths of any length work; whoever has not accepted in time is given up. */
export function unixConnect(path: string, type: SocketType = SOCK_SEQPACKET, patienceS = PATIENCE_S): number {
  const socket = new Fd(newSocket(type));
  try {
    limitWait(socket.fd, patienceS);
    if (isShort(path)) {
      connect(socket.fd, path, path);
    } else {
      using file = new Fd(open(path, O_PATH));
      connect(socket.fd, `/proc/self/fd/${file.fd}`, path);
    }
    return socket.release();
  } finally {
    socket[Symbol.dispose]();
  }
}

/** As struct timeval: seconds and microseconds. */
function limitWait(fd: number, seconds: number): void {
  const timeval = new Uint8Array(16);
  timeval[0] = seconds;
  check(syscall(SYS.setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, timeval, timeval.length), "setsockopt SO_SNDTIMEO");
}

function newSocket(type: SocketType): number {
  return check(syscall(SYS.socket, AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
}

function isShort(path: string): boolean {
  return utf8Bytes(path).length <= SUN_PATH_MAX;
}

function bind(fd: number, path: string): void {
  cString(path, "bind");
  if (isShort(path)) {
    bindShort(fd, path, path);
    return;
  }
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  using parent = new Fd(open(path.slice(0, slash + 1) || ".", O_PATH | O_DIRECTORY));
  const base = `/proc/self/fd/${parent.fd}/`;
  if (isShort(base + name)) {
    bindShort(fd, base + name, path);
    return;
  }
  // The name alone is too long: bound under a short one, then renamed. RENAME_NOREPLACE: EEXIST as bind would say.
  const short = `.${process.pid}.sock`;
  bindShort(fd, base + short, path);
  try {
    renameat(parent.fd, short, parent.fd, name, 1);
  } catch (error) {
    unlinkat(parent.fd, short);
    throw error;
  }
}

function bindShort(fd: number, address: string, path: string): void {
  const sockaddr = sockaddrUn(address);
  check(syscall(SYS.bind, fd, sockaddr, sockaddr.length), "bind", path);
}

function connect(fd: number, address: string, path: string): void {
  cString(address, "connect");
  const sockaddr = sockaddrUn(address);
  const result = syscall(SYS.connect, fd, sockaddr, sockaddr.length);
  // Interrupted while the listener's queue was full: the kernel has given up, so it is asked again.
  if (result === -EINTR) {
    pollFd(fd, POLLOUT, 10);
    connect(fd, address, path);
    return;
  }
  if (result === -EAGAIN) {
    throw new SyscallError("connect", "EAGAIN", {
      path,
      fix: `who listens there has not accepted for ${PATIENCE_S} s: see what it waits for`,
    });
  }
  check(result, "connect", path);
}

/** accept4(2), close-on-exec. */
export function accept(fd: number, { nonBlock = false } = {}): number {
  const flags = SOCK_CLOEXEC | (nonBlock ? SOCK_NONBLOCK : 0);
  return check(retrying(SYS.accept4, fd, null, null, flags), "accept");
}

/** shutdown(2); `how` is SHUT_RD, SHUT_WR or SHUT_RDWR. */
export function shutdown(fd: number, how: number): void {
  check(syscall(SYS.shutdown, fd, how), "shutdown");
}

/**
 * sendmsg(2) of all the data, with descriptors (at most 253) beside its first byte.
 * A closed other end is EPIPE, never SIGPIPE. `path` is for the error.
 */
export function sendMsg(fd: number, data: string | Uint8Array, fds: readonly number[] = [], path?: PathArg): void {
  const bytes = typeof data === "string" ? utf8Bytes(data) : data;
  let sent = 0;
  do {
    const rights = sent === 0 ? fds : [];
    const message = messageBuffer(bytes.length - sent, rights.length);
    message.header.set(bytes.subarray(sent), message.data);
    if (rights.length > 0) putRights(message, rights);
    sent += check(retrying(SYS.sendmsg, fd, message.header, MSG_NOSIGNAL), "sendmsg", path);
  } while (sent < bytes.length);
}

export interface Received {
  /** Empty at the end of the stream. */
  data: Uint8Array;
  fds: number[];
}

/**
 * recvmsg(2): one message, or what is there of a stream; descriptors are close-on-exec.
 *
 * @throws SyscallError EMSGSIZE when a message was longer than `maxBytes` or brought more than `maxFds`
 *   descriptors (or more than this process may open); those that came are closed
 */
export function recvMessage(fd: number, maxBytes = 4096, maxFds = 16): Received {
  const message = messageBuffer(maxBytes, maxFds);
  const length = check(retrying(SYS.recvmsg, fd, message.header, MSG_CMSG_CLOEXEC), "recvmsg");
  const { fds, flags } = takeRights(message);
  if ((flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
    for (const received of fds) closeQuiet(received);
    throw failure("recvmsg", 90);
  }
  return { data: message.header.slice(message.data, message.data + length), fds };
}

/** recvMessage for when no descriptors are wanted; any that come are closed. */
export function recvData(fd: number, maxBytes = 4096): Uint8Array {
  const { data, fds } = recvMessage(fd, maxBytes);
  for (const received of fds) close(received);
  return data;
}
