/** Processes, namespaces, limits, terminals and what the machine is. */
import { check, cString, failure, retrying, utf8Text } from "./call.ts";
import {
  __WALL,
  AT_EMPTY_PATH,
  CLD_DUMPED,
  CLD_EXITED,
  P_PID,
  P_PIDFD,
  PIDFD_GET_INFO,
  PIDFD_INFO_EXIT,
  TCGETS,
  TIOCGWINSZ,
  TIOCSWINSZ,
  WEXITED,
  WNOHANG,
  WNOWAIT,
} from "./constants.ts";
import { type NativeArg, syscall } from "./ffi.ts";
import { cloexecStdio, setCloexec } from "./file.ts";
import { SYS } from "./numbers.ts";
import { setU64, stringVector, timespec, viewOf } from "./structs.ts";

const EINTR = 4;
const EBADF = 9;
const EINVAL = 22;
const ENOTTY = 25;

/** pidfd_open(2); pidfds are close-on-exec. */
export function pidfdOpen(pid: number): number {
  return check(syscall(SYS.pidfd_open, pid, 0), "pidfd_open", `pid ${pid}`);
}

/** pidfd_getfd(2): a copy of a descriptor of another process, close-on-exec; undefined when it has none of this number. */
export function pidfdGetFd(pidFd: number, fd: number): number | undefined {
  const result = syscall(SYS.pidfd_getfd, pidFd, fd, 0);
  return result === -EBADF ? undefined : check(result, "pidfd_getfd", `fd ${fd}`);
}

/** pidfd_send_signal(2); signal 0 tests whether the process is there. */
export function pidfdSendSignal(pidFd: number, signal: number): void {
  check(syscall(SYS.pidfd_send_signal, pidFd, signal, null, 0), "pidfd_send_signal");
}

/**
 * The status of wait(2) of a process that has been waited for, for who has had a pidfd of it since before.
 * Linux 6.15: ioctl PIDFD_GET_INFO with PIDFD_INFO_EXIT, include/uapi/linux/pidfd.h.
 *
 * @returns undefined while it is not known, and on an older kernel
 */
export function pidfdExitStatus(pidFd: number): number | undefined {
  const info = new Uint8Array(64); // struct pidfd_info, its first version
  const view = viewOf(info);
  setU64(view, 0, PIDFD_INFO_EXIT); // mask
  if (syscall(SYS.ioctl, pidFd, PIDFD_GET_INFO, info) < 0) return undefined;
  if ((view.getUint32(0, true) & PIDFD_INFO_EXIT) === 0) return undefined;
  return view.getInt32(60, true); // exit_code
}

/** kill(2). Pids below 1 are refused: they would mean groups, or everybody. */
export function kill(pid: number, signal: number): void {
  if (!Number.isSafeInteger(pid) || pid < 1) throw failure("kill", EINVAL, `pid ${pid}`);
  check(syscall(SYS.kill, pid, signal), "kill", `pid ${pid}`);
}

export interface WaitStatus {
  pid: number;
  kind: "exited" | "signaled";
  /** Exit code; 128 + signal when a signal ended it. */
  exitCode: number;
  /** The signal's number, 0 when it exited. */
  signal: number;
  coreDumped: boolean;
}

export interface WaitOptions {
  noHang?: boolean;
  /** Leaves the child a zombie, to be waited for again. */
  keep?: boolean;
}

/** waitid(2) for a child to end; undefined when `noHang` and it has not. */
export function waitid(
  who: { pid: number } | { pidFd: number },
  options: WaitOptions & { noHang: true },
): WaitStatus | undefined;
export function waitid(who: { pid: number } | { pidFd: number }, options?: { keep?: boolean }): WaitStatus;
export function waitid(
  who: { pid: number } | { pidFd: number },
  { noHang = false, keep = false }: WaitOptions = {},
): WaitStatus | undefined {
  const [type, id] = "pid" in who ? [P_PID, who.pid] : [P_PIDFD, who.pidFd];
  const info = new Uint8Array(128); // siginfo_t
  // __WALL: children of clone3(2) without an exit signal count too.
  const options = WEXITED | __WALL | (noHang ? WNOHANG : 0) | (keep ? WNOWAIT : 0);
  check(retrying(SYS.waitid, type, id, info, options, null), "waitid", "pid" in who ? `pid ${id}` : undefined);
  const view = viewOf(info);
  const pid = view.getInt32(16, true); // si_pid
  if (pid === 0) return undefined;
  const code = view.getInt32(8, true);
  const status = view.getInt32(24, true); // si_status
  return code === CLD_EXITED
    ? { pid, kind: "exited", exitCode: status, signal: 0, coreDumped: false }
    : { pid, kind: "signaled", exitCode: 128 + status, signal: status, coreDumped: code === CLD_DUMPED };
}

/**
 * ppoll(2): what happened at each descriptor (POLL*, 0 for nothing). A signal does not end the wait, and
 * handlers in JavaScript run after it.
 *
 * @param timeoutMs -1 waits for ever
 */
export function poll(entries: readonly { fd: number; events: number }[], timeoutMs = -1): number[] {
  const list = new Uint8Array(Math.max(entries.length, 1) * 8);
  const view = viewOf(list);
  for (const [index, { fd, events }] of entries.entries()) {
    view.setInt32(index * 8, fd, true);
    view.setInt16(index * 8 + 4, events, true);
  }
  const deadline = performance.now() + timeoutMs;
  let result: number;
  do {
    const wait = timeoutMs < 0 ? null : timespec(Math.max(deadline - performance.now(), 0));
    result = syscall(SYS.ppoll, list, entries.length, wait, null, 0);
  } while (result === -EINTR);
  check(result, "poll");
  return entries.map((_, index) => view.getInt16(index * 8 + 6, true));
}

/** poll of one descriptor: what happened, 0 when the time is over. */
export function pollFd(fd: number, events: number, timeoutMs = -1): number {
  return poll([{ fd, events }], timeoutMs)[0] ?? 0;
}

/**
 * execve(2), or execveat(2) of a descriptor: this program becomes another one and keeps its pid.
 * Signals that the engine ignores stay ignored, so the new program sets its own.
 *
 * @throws SyscallError; it returns in no other way
 */
export function execve(file: string | number, argv: readonly string[], envp: readonly string[]): never {
  const program = typeof file === "number" ? new Uint8Array(1) : cString(file, "execve");
  const strings = [vector(argv, "execve"), vector(envp, "execve")] as const;
  const hidden = cloexecStdio();
  for (const fd of hidden) setCloexec(fd, false);
  const result =
    typeof file === "number"
      ? syscall(SYS.execveat, file, program, ...strings, AT_EMPTY_PATH)
      : syscall(SYS.execve, program, ...strings);
  for (const fd of hidden) setCloexec(fd, true);
  throw failure("execve", -result, typeof file === "number" ? argv[0] : file);
}

/** argv or envp; a string with a NUL byte is refused. */
export function vector(strings: readonly string[], operation: string): Uint8Array {
  for (const string of strings) {
    if (string.includes("\0")) throw failure(operation, EINVAL, string.replaceAll("\0", "\\0"));
  }
  return stringVector(strings);
}

/** prctl(2). */
export function prctl(option: number, a: NativeArg = 0, b: NativeArg = 0, c: NativeArg = 0, d: NativeArg = 0): number {
  return check(syscall(SYS.prctl, option, a, b, c, d), "prctl");
}

export interface Limit {
  soft: bigint;
  hard: bigint;
}

/** prlimit64(2): the limit before; `pid` 0 is this process. */
export function prlimit(pid: number, resource: number, limit?: Limit): Limit {
  const before = new Uint8Array(16);
  let wanted: Uint8Array | null = null;
  if (limit !== undefined) {
    wanted = new Uint8Array(16);
    setU64(viewOf(wanted), 0, limit.soft);
    setU64(viewOf(wanted), 8, limit.hard);
  }
  check(syscall(SYS.prlimit64, pid, resource, wanted, before), "prlimit");
  const view = viewOf(before);
  return { soft: view.getBigUint64(0, true), hard: view.getBigUint64(8, true) };
}

/** umask(2). @returns the one before */
export function umask(mask: number): number {
  return syscall(SYS.umask, mask);
}

/** getrlimit(2). */
export function getrlimit(resource: number): Limit {
  return prlimit(0, resource);
}

/**
 * Blocks every signal in this thread, so that they wait for the program that execve makes of it. The threads of the
 * engine have theirs blocked from the start.
 */
export function blockSignals(): void {
  check(syscall(SYS.rt_sigprocmask, SIG_SETMASK, new Uint8Array(8).fill(0xff), null, 8), "rt_sigprocmask");
}

const SIG_SETMASK = 2;

/** setns(2) of this thread: with the threads of an engine only some namespaces allow it. */
export function setns(fd: number, flags: number): void {
  check(syscall(SYS.setns, fd, flags), "setns");
}

/** unshare(2) of this thread. */
export function unshare(flags: number): void {
  check(syscall(SYS.unshare, flags), "unshare");
}

export function ioctl(fd: number, request: number, argument: NativeArg = 0): number {
  return check(retrying(SYS.ioctl, fd, request, argument), `ioctl 0x${request.toString(16)}`);
}

/** bpf(2): `attr` is union bpf_attr. */
export function bpf(command: number, attr: Uint8Array): number {
  return check(retrying(SYS.bpf, command, attr, attr.length), "bpf");
}

export function isTerminal(fd: number): boolean {
  return syscall(SYS.ioctl, fd, TCGETS, new Uint8Array(64)) >= 0;
}

/** Rows and columns of a terminal, undefined when it is none. */
export function terminalSize(fd: number): { rows: number; columns: number } | undefined {
  const size = new Uint8Array(8);
  const result = syscall(SYS.ioctl, fd, TIOCGWINSZ, size);
  if (result === -ENOTTY) return undefined;
  check(result, "ioctl TIOCGWINSZ", `fd ${fd}`);
  const view = viewOf(size);
  return { rows: view.getUint16(0, true), columns: view.getUint16(2, true) };
}

export function setTerminalSize(fd: number, { rows, columns }: { rows: number; columns: number }): void {
  const size = new Uint8Array(8);
  const view = viewOf(size);
  view.setUint16(0, rows, true);
  view.setUint16(2, columns, true);
  check(syscall(SYS.ioctl, fd, TIOCSWINSZ, size), "ioctl TIOCSWINSZ", `fd ${fd}`);
}

/** Major and minor version of the kernel. */
export function kernelVersion(): [number, number] {
  const [major = "0", minor = "0"] = uname().release.split(".");
  return [Number.parseInt(major, 10), Number.parseInt(minor, 10)];
}

export interface Uname {
  sysname: string;
  nodename: string;
  release: string;
  version: string;
  machine: string;
}

/** uname(2). */
export function uname(): Uname {
  const buffer = new Uint8Array(390);
  check(syscall(SYS.uname, buffer), "uname");
  const field = (index: number) => {
    const start = index * 65;
    return utf8Text(buffer.subarray(start, buffer.indexOf(0, start)));
  };
  return { sysname: field(0), nodename: field(1), release: field(2), version: field(3), machine: field(4) };
}

export function geteuid(): number {
  return process.geteuid?.() ?? 0;
}

export function getegid(): number {
  return process.getegid?.() ?? 0;
}
