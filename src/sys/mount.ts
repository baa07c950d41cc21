/** Mounts: mount(2) and the API by descriptor (fsopen, fsconfig, fsmount, open_tree, move_mount, mount_setattr). */
import { TsrunError } from "../errors.ts";
import { check, cString, failure, optionalCString, type PathArg, retrying, utf8Text } from "./call.ts";
import {
  AT_EMPTY_PATH,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_CMD_RECONFIGURE,
  FSCONFIG_SET_FD,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
} from "./constants.ts";
import { syscall } from "./ffi.ts";
import { SYS } from "./numbers.ts";
import { mountAttr } from "./structs.ts";

/** mount(2). */
export function mount(
  source: string | null,
  target: string,
  type: string | null,
  flags: number,
  data: string | null = null,
): void {
  const result = syscall(
    SYS.mount,
    optionalCString(source, "mount"),
    cString(target, "mount"),
    optionalCString(type, "mount"),
    flags,
    optionalCString(data, "mount"),
  );
  check(result, "mount", target);
}

/** umount2(2). */
export function umount2(target: string, flags = 0): void {
  check(syscall(SYS.umount2, cString(target, "umount"), flags), "umount", target);
}

/** fsopen(2): a context for a filesystem to be made. */
export function fsopen(type: string): number {
  return check(syscall(SYS.fsopen, cString(type, "fsopen"), FSOPEN_CLOEXEC), "fsopen", type);
}

/**
 * fsconfig(2) of one option: text is a value, a number a descriptor, nothing a flag.
 *
 * @throws SyscallError with what the kernel logged in the context as its cause
 */
export function fsconfigSet(fd: number, key: string, value?: string | number): void {
  const name = cString(key, "fsconfig");
  let result: number;
  if (typeof value === "string") {
    result = syscall(SYS.fsconfig, fd, FSCONFIG_SET_STRING, name, cString(value, "fsconfig"), 0);
  } else if (typeof value === "number") {
    result = syscall(SYS.fsconfig, fd, FSCONFIG_SET_FD, name, null, value);
  } else {
    result = syscall(SYS.fsconfig, fd, FSCONFIG_SET_FLAG, name, null, 0);
  }
  if (result < 0) throw contextFailure(fd, "fsconfig", -result, typeof value === "string" ? `${key}=${value}` : key);
}

/** fsconfig(2) FSCONFIG_CMD_CREATE: makes the filesystem. `path` is for the error. */
export function fsconfigCreate(fd: number, path?: PathArg): void {
  const result = retrying(SYS.fsconfig, fd, FSCONFIG_CMD_CREATE, null, null, 0);
  if (result < 0) throw contextFailure(fd, "fsconfig create", -result, path);
}

/** fsconfig(2) FSCONFIG_CMD_RECONFIGURE: what a remount does. */
export function fsconfigReconfigure(fd: number, path?: PathArg): void {
  const result = retrying(SYS.fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, null, null, 0);
  if (result < 0) throw contextFailure(fd, "fsconfig reconfigure", -result, path);
}

/** fsmount(2): a detached mount of the filesystem, with MOUNT_ATTR_* `attributes`. */
export function fsmount(fd: number, attributes = 0, path?: PathArg): number {
  const result = syscall(SYS.fsmount, fd, FSMOUNT_CLOEXEC, attributes);
  if (result < 0) throw contextFailure(fd, "fsmount", -result, path);
  return result;
}

/** fspick(2): a context to reconfigure the filesystem at a path; FSPICK_* `flags`. */
export function fspick(dirFd: number, path: PathArg, flags = 0): number {
  return check(syscall(SYS.fspick, dirFd, cString(path, "fspick"), flags | 1), "fspick", path);
}

function contextFailure(fd: number, operation: string, errno: number, path?: PathArg) {
  const log = readFsLog(fd);
  return failure(operation, errno, path, undefined, log === "" ? undefined : new TsrunError(`the kernel says: ${log}`));
}

/** What the kernel wrote into a filesystem context, such as the reason of a failed fsconfig(2); "" when nothing. */
export function readFsLog(fd: number): string {
  const lines: string[] = [];
  const buffer = new Uint8Array(4096);
  // Each read gives one message: a letter for the level, a space, the text. ENODATA ends them.
  for (let count = 0; count < 64; count++) {
    const length = retrying(SYS.read, fd, buffer, buffer.length);
    if (length <= 0) break;
    lines.push(
      utf8Text(buffer.subarray(0, length))
        .replace(/^[ewi] /, "")
        .trim(),
    );
  }
  return lines.join("; ");
}

/** open_tree(2), close-on-exec; "" with AT_EMPTY_PATH is `dirFd` itself. */
export function openTree(dirFd: number, path: PathArg, flags: number): number {
  const empty = path.length === 0 ? AT_EMPTY_PATH : 0;
  const result = syscall(SYS.open_tree, dirFd, cString(path, "open_tree"), flags | OPEN_TREE_CLOEXEC | empty);
  return check(result, "open_tree", path);
}

/** move_mount(2); an empty path means the descriptor beside it. */
export function moveMount(fromFd: number, from: PathArg, toFd: number, to: PathArg, flags = 0): void {
  const empty = (from.length === 0 ? MOVE_MOUNT_F_EMPTY_PATH : 0) | (to.length === 0 ? MOVE_MOUNT_T_EMPTY_PATH : 0);
  const result = syscall(
    SYS.move_mount,
    fromFd,
    cString(from, "move_mount"),
    toFd,
    cString(to, "move_mount"),
    flags | empty,
  );
  check(result, "move_mount", to.length === 0 ? undefined : to);
}

export interface MountAttributes {
  /** MOUNT_ATTR_* to set. */
  set?: number;
  /** MOUNT_ATTR_* to clear. */
  clear?: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE; 0 leaves it. */
  propagation?: number;
  /** For MOUNT_ATTR_IDMAP. */
  usernsFd?: number;
}

/** mount_setattr(2); `flags` such as AT_RECURSIVE; an empty path means `dirFd` itself. */
export function mountSetattr(
  dirFd: number,
  path: PathArg,
  flags: number,
  { set = 0, clear = 0, propagation = 0, usernsFd = -1 }: MountAttributes,
): void {
  const attr = mountAttr(set, clear, propagation, usernsFd);
  const empty = path.length === 0 ? AT_EMPTY_PATH : 0;
  const name = cString(path, "mount_setattr");
  check(syscall(SYS.mount_setattr, dirFd, name, flags | empty, attr, attr.length), "mount_setattr", path);
}
