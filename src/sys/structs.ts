/**
 * Layouts of the kernel's structures, the same on x86_64 and aarch64 (64-bit, little-endian): what is
 * built returns bytes, what is read takes them. Sources: the kernel's include/uapi.
 */
import { addressOf } from "./ffi.ts";

const TWO_32 = 0x1_0000_0000;
const encoder = new TextEncoder();

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes a u64 that is a safe integer, or a bigint. */
export function setU64(view: DataView, offset: number, value: number | bigint): void {
  if (typeof value === "bigint") {
    view.setBigUint64(offset, BigInt.asUintN(64, value), true);
    return;
  }
  view.setUint32(offset, value % TWO_32, true);
  view.setUint32(offset + 4, Math.floor(value / TWO_32), true);
}

/** A u64 as a number: ids, sizes and times stay below 2^53. */
export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * TWO_32 + view.getUint32(offset, true);
}

/** struct open_how. */
export function openHow(flags: number, mode: number, resolve: number): Uint8Array {
  const how = new Uint8Array(24);
  const view = viewOf(how);
  setU64(view, 0, flags);
  setU64(view, 8, mode);
  setU64(view, 16, resolve);
  return how;
}

/** struct mount_attr. */
export function mountAttr(set: number, clear: number, propagation: number, usernsFd: number): Uint8Array {
  const attr = new Uint8Array(32);
  const view = viewOf(attr);
  setU64(view, 0, set);
  setU64(view, 8, clear);
  setU64(view, 16, propagation);
  setU64(view, 24, Math.max(usernsFd, 0));
  return attr;
}

/** What statx(2) tells. `mountId` is undefined before Linux 5.8. */
export interface Statx {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  ino: number;
  size: number;
  blocks: number;
  attributes: number;
  rdevMajor: number;
  rdevMinor: number;
  devMajor: number;
  devMinor: number;
  mountId: number | undefined;
  /** Is this the root of a mount? undefined where the kernel cannot tell (before 5.8). */
  mountRoot: boolean | undefined;
}

export const STATX_SIZE = 256;
const STATX_MNT_ID = 0x1000;
const STATX_ATTR_MOUNT_ROOT = 0x2000;

/** struct statx. */
export function readStatx(bytes: Uint8Array): Statx {
  const view = viewOf(bytes);
  const u32 = (offset: number) => view.getUint32(offset, true);
  const attributes = u32(8);
  return {
    attributes,
    nlink: u32(16),
    uid: u32(20),
    gid: u32(24),
    mode: view.getUint16(28, true),
    ino: getU64(view, 32),
    size: getU64(view, 40),
    blocks: getU64(view, 48),
    rdevMajor: u32(128),
    rdevMinor: u32(132),
    devMajor: u32(136),
    devMinor: u32(140),
    mountId: (u32(0) & STATX_MNT_ID) === 0 ? undefined : getU64(view, 144),
    mountRoot: (u32(56) & STATX_ATTR_MOUNT_ROOT) === 0 ? undefined : (attributes & STATX_ATTR_MOUNT_ROOT) !== 0,
  };
}

/** struct __kernel_timespec. */
export function timespec(milliseconds: number): Uint8Array {
  const time = new Uint8Array(16);
  const view = viewOf(time);
  setU64(view, 0, Math.floor(milliseconds / 1000));
  setU64(view, 8, Math.floor((milliseconds % 1000) * 1e6));
  return time;
}

/**
 * A NULL-terminated vector of C strings (argv, envp) in one piece of memory: pointers, then text.
 * The pointers point into the piece itself, so keeping it alive is enough.
 */
export function stringVector(strings: readonly string[]): Uint8Array {
  const text = encoder.encode(strings.length === 0 ? "" : `${strings.join("\0")}\0`);
  const head = (strings.length + 1) * 8;
  const bytes = new Uint8Array(head + text.length);
  bytes.set(text, head);
  const view = viewOf(bytes);
  const base = addressOf(bytes);
  let at = head;
  for (let index = 0; index < strings.length; index++) {
    setU64(view, index * 8, base + at);
    at = bytes.indexOf(0, at) + 1;
  }
  return bytes;
}

/** struct sockaddr_un for a path of at most 107 bytes. */
export const SUN_PATH_MAX = 107;

export function sockaddrUn(path: string): Uint8Array {
  const text = encoder.encode(path);
  const address = new Uint8Array(2 + text.length + 1);
  address[0] = 1; // AF_UNIX
  address.set(text, 2);
  return address;
}

/** struct sockaddr_un for a name that is no path (unix(7) "abstract"): all bytes count, so there is none at its end. */
export function sockaddrAbstract(name: string): Uint8Array {
  const text = encoder.encode(name);
  const address = new Uint8Array(3 + text.length);
  address[0] = 1; // AF_UNIX
  address.set(text, 3);
  return address;
}

const MSGHDR_SIZE = 56;
const CMSGHDR_SIZE = 16;

/** struct msghdr with one data buffer and room for descriptors, in one piece of memory. */
export interface MessageBuffer {
  header: Uint8Array;
  /** Offset of the control message, of the data. */
  control: number;
  data: number;
}

/** Lays out msghdr, iovec, a control buffer for `fdCount` descriptors and `dataBytes` of data. */
export function messageBuffer(dataBytes: number, fdCount: number): MessageBuffer {
  const iovec = MSGHDR_SIZE;
  const control = iovec + 16;
  const controlBytes = fdCount === 0 ? 0 : CMSGHDR_SIZE + align8(fdCount * 4);
  const data = control + controlBytes;
  const header = new Uint8Array(data + dataBytes);
  const view = viewOf(header);
  const base = addressOf(header);
  setU64(view, 16, base + iovec); // msg_iov
  setU64(view, 24, 1); // msg_iovlen
  if (controlBytes > 0) {
    setU64(view, 32, base + control); // msg_control
    // Without the padding at the end: the kernel would put one descriptor more there than was asked for.
    setU64(view, 40, CMSGHDR_SIZE + fdCount * 4); // msg_controllen
  }
  setU64(view, iovec, base + data);
  setU64(view, iovec + 8, dataBytes);
  return { header, control, data };
}

/** Puts a SCM_RIGHTS control message into a message buffer made for that many descriptors. */
export function putRights({ header, control }: MessageBuffer, fds: readonly number[]): void {
  const view = viewOf(header);
  setU64(view, control, CMSGHDR_SIZE + fds.length * 4); // cmsg_len
  view.setInt32(control + 8, 1, true); // SOL_SOCKET
  view.setInt32(control + 12, 1, true); // SCM_RIGHTS
  for (let index = 0; index < fds.length; index++) {
    view.setInt32(control + CMSGHDR_SIZE + index * 4, fds[index] as number, true);
  }
}

/** The descriptors and the flags (MSG_*) that recvmsg(2) left in a message buffer. */
export function takeRights({ header, control }: MessageBuffer): { fds: number[]; flags: number } {
  const view = viewOf(header);
  const end = control + getU64(view, 40);
  const fds: number[] = [];
  let at = control;
  while (at + CMSGHDR_SIZE <= end) {
    const length = getU64(view, at);
    if (length < CMSGHDR_SIZE) break;
    const isRights = view.getInt32(at + 8, true) === 1 && view.getInt32(at + 12, true) === 1;
    for (let fd = at + CMSGHDR_SIZE; isRights && fd + 4 <= at + length; fd += 4) fds.push(view.getInt32(fd, true));
    at += align8(length);
  }
  return { fds, flags: view.getInt32(48, true) };
}

function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}
