/**
 * rtnetlink(7): requests about network devices to the kernel, and its answers.
 * Layouts: linux/netlink.h, linux/rtnetlink.h; attributes are kept as bytes, as most of them only pass through.
 */
import { errnoName } from "../errno.ts";
import { SyscallError, TsrunError } from "../errors.ts";
import { check, type PathArg, pathText, utf8Bytes, utf8Text } from "./call.ts";
import { CLONE_NEWNET, O_CLOEXEC, O_RDONLY, SOCK_CLOEXEC } from "./constants.ts";
import { syscall } from "./ffi.ts";
import { closeQuiet, open } from "./file.ts";
import { SYS } from "./numbers.ts";
import { setns } from "./process.ts";
import { recvData, sendMsg } from "./socket.ts";
import { viewOf } from "./structs.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
/** Everything there is, in several messages. */
export const NLM_F_DUMP = 0x300;
export const NLM_F_CREATE_NEW = 0x600;
/** The text of an error, after its number and the head of the request. */
const NLMSGERR_ATTR_MSG = 1;

const HEADER_BYTES = 16;
/** As much as the kernel puts into one message of a dump. */
const RECEIVE_BYTES = 32_768;

/** A message, or what it asks for: its fixed part, which has its own layout for each type, and its attributes. */
export interface NetlinkMessage {
  type: number;
  fixed: Uint8Array;
  attributes: readonly NetlinkAttribute[];
}

export interface NetlinkAttribute {
  type: number;
  value: Uint8Array;
}

/** A socket to the kernel about the network namespace of this process or, with a descriptor, about that one. */
export function netlinkSocket(namespace?: number): number {
  if (namespace === undefined) return newSocket();
  // A socket belongs to the namespace that it is made in. This thread comes back at once; other threads are not concerned.
  const own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  try {
    setns(namespace, CLONE_NEWNET);
    try {
      return newSocket();
    } finally {
      setns(own, CLONE_NEWNET);
    }
  } finally {
    closeQuiet(own);
  }
}

function newSocket(): number {
  const fd = check(syscall(SYS.socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket AF_NETLINK");
  const on = new Uint8Array([1, 0, 0, 0]);
  // Errors with their reason in words; without it they are numbers only.
  syscall(SYS.setsockopt, fd, SOL_NETLINK, NETLINK_EXT_ACK, on, on.length);
  syscall(SYS.setsockopt, fd, SOL_NETLINK, NETLINK_CAP_ACK, on, on.length);
  return fd;
}

/**
 * Asks, and waits for all of the answer.
 *
 * @param flags NLM_F_DUMP, or NLM_F_CREATE_NEW for what must not be there yet
 * @param operation and `about`: for the error
 * @throws SyscallError with the kernel's words as its cause, where it has some
 */
export function netlinkRequest(
  fd: number,
  message: NetlinkMessage,
  flags: number,
  operation: string,
  about?: PathArg,
): NetlinkMessage[] {
  const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
  sendMsg(fd, encodeMessage(message, NLM_F_REQUEST | (isDump ? 0 : NLM_F_ACK) | flags));
  const answers: NetlinkMessage[] = [];
  for (;;) {
    for (const { type, payload } of splitMessages(recvData(fd, RECEIVE_BYTES))) {
      if (type === NLMSG_DONE) return answers;
      if (type !== NLMSG_ERROR) answers.push({ type, ...splitPayload(type, payload) });
      else if (readErrno(payload) === 0) return answers;
      else throw requestFailure(payload, operation, about);
    }
  }
}

function requestFailure(payload: Uint8Array, operation: string, about: PathArg | undefined): SyscallError {
  const text = splitAttributes(payload.subarray(4 + HEADER_BYTES)).find(({ type }) => type === NLMSGERR_ATTR_MSG);
  return new SyscallError(operation, errnoName(readErrno(payload)), {
    ...(about === undefined ? {} : { path: pathText(about) }),
    ...(text === undefined ? {} : { cause: new TsrunError(`the kernel says: ${textOf(text.value)}`) }),
  });
}

function readErrno(payload: Uint8Array): number {
  return payload.length < 4 ? 0 : -viewOf(payload).getInt32(0, true);
}

/** The bytes of a request. */
export function encodeMessage({ type, fixed, attributes }: NetlinkMessage, flags: number): Uint8Array {
  const parts = attributes.map(({ type, value }) => encodeAttribute(type, value));
  const length = parts.reduce((sum, part) => sum + part.length, HEADER_BYTES + fixed.length);
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setUint32(0, length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  bytes.set(fixed, HEADER_BYTES);
  let at = HEADER_BYTES + fixed.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function encodeAttribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(4 + value.length));
  const view = viewOf(bytes);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

/** The messages that came in one piece. */
export function splitMessages(data: Uint8Array): { type: number; payload: Uint8Array }[] {
  const messages: { type: number; payload: Uint8Array }[] = [];
  const view = viewOf(data);
  for (let at = 0; at + HEADER_BYTES <= data.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > data.length) break;
    messages.push({ type: view.getUint16(at + 4, true), payload: data.slice(at + HEADER_BYTES, at + length) });
    at += align(length);
  }
  return messages;
}

/** Bytes of the fixed part: struct ifinfomsg of the messages about links (16 to 19), struct ifaddrmsg of addresses (20 to 22). */
function splitPayload(type: number, payload: Uint8Array): Pick<NetlinkMessage, "fixed" | "attributes"> {
  const size = type < 20 ? 16 : 8;
  return { fixed: payload.subarray(0, size), attributes: splitAttributes(payload.subarray(size)) };
}

function splitAttributes(data: Uint8Array): NetlinkAttribute[] {
  const attributes: NetlinkAttribute[] = [];
  const view = viewOf(data);
  for (let at = 0; at + 4 <= data.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > data.length) break;
    // The two high bits say how the value is to be read: NLA_F_NESTED, NLA_F_NET_BYTEORDER.
    attributes.push({ type: view.getUint16(at + 2, true) & 0x3fff, value: data.subarray(at + 4, at + length) });
    at += align(length);
  }
  return attributes;
}

/** A string attribute, with its NUL. */
export function textAttribute(type: number, text: string): NetlinkAttribute {
  return { type, value: utf8Bytes(`${text}\0`) };
}

export function uint32Attribute(type: number, number: number): NetlinkAttribute {
  const value = new Uint8Array(4);
  viewOf(value).setUint32(0, number, true);
  return { type, value };
}

export function textOf(value: Uint8Array): string {
  const end = value.indexOf(0);
  return utf8Text(end === -1 ? value : value.subarray(0, end));
}

function align(length: number): number {
  return (length + 3) & ~3;
}
