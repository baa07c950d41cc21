/**
 * The native monitor: waits for a container in the foreground in a few pages of memory, and cleans up behind it.
 * It is the same program as the init; what it does is in native/monitor.c and native/cleanup.c.
 */
import { closeQuiet, memfdCreate, setCloexec, write } from "../sys/file.ts";
import { execve } from "../sys/process.ts";
import { untilExit } from "../sys/watch.ts";
import { initBinary } from "./binary.ts";

/**
 * What to do when the container has ended, in order; the letters are those of native/cleanup.c. Missing is fine.
 *   l  locks a directory, by its descriptor; when it has been removed somebody else has done all of this
 *   f  gives that lock back
 *   k  ends what is left in a cgroup: without a pid namespace the end of the first process does not
 *   c  removes a cgroup with those that the container made below it
 *   u  unlink(2)    r  rmdir(2)    t  removes a directory and all below it, but never through a mount
 *   d  unmounts everything that is mounted there
 *   s  stops when something could not be removed: what comes after it is how to find that again
 */
export interface CleanupStep {
  op: "l" | "f" | "k" | "c" | "u" | "r" | "t" | "d" | "s";
  path: string;
}

/**
 * Writes how the container ended: its wait status, and what each of the files holds, each ended by NUL.
 *   e  to a file that is there already, because somebody waits for it    E  makes the file
 */
export interface CleanupRecord {
  op: "e" | "E";
  path: string;
  files: readonly string[];
}

/** Runs a program, and waits for it; `x` of native/cleanup.c. */
export interface CleanupProgram {
  op: "x";
  argv: readonly string[];
  /** Its environment. */
  env: readonly string[];
}

export interface MonitorRequest {
  pid: number;
  pidFd: number;
  /** The pty's master, or -1. */
  master: number;
  /** Leave the orphans of the container to whoever is a reaper above us. */
  noSubreaper?: boolean | undefined;
  /** Two sockets that do not block: what the container says of its readiness, and who waits for it (native/notify.c). */
  notify?: { socket: number; host: number } | undefined;
  /** Only wait: signals that reach the monitor are not the container's, and it ends with its parent. */
  watch?: boolean;
  /**
   * Who sees a cgroup to its end that goes with its last process (witness.ts), and what he writes: a record of the end says
   * the same of its files.
   */
  witness?: { socket: number; record: number } | undefined;
  cleanup: readonly (CleanupStep | CleanupRecord | CleanupProgram)[];
  /** A directory that others lock before they work on the container: the clean-up takes that lock, or is not needed. */
  lockFd?: number | undefined;
}

/** The monitor's configuration: fields that end in NUL, first its magic. */
export function encodeMonitor(request: MonitorRequest): string {
  const { pid, pidFd, master, noSubreaper, watch, notify, witness, cleanup, lockFd } = request;
  const flags = (noSubreaper ? 1 : 0) | (watch ? 2 : 0) | (notify ? 4 : 0) | (witness ? 8 : 0);
  const sockets = notify ? `${notify.socket}\0${notify.host}\0` : "";
  const witnessed = witness ? `${witness.socket}\0${witness.record}\0` : "";
  const lock: CleanupStep[] = lockFd === undefined ? [] : [{ op: "l", path: String(lockFd) }];
  const steps = [...lock, ...cleanup].map((step) => {
    if (step.op === "x") return `x\0${listOf(step.argv)}${listOf(step.env)}`;
    return `${step.op}\0${step.path}\0${"files" in step ? listOf(step.files) : ""}`;
  });
  return `tsrunm1\0${pid}\0${pidFd}\0${master}\0${flags}\0${sockets}${witnessed}${steps.join("")}`;
}

function listOf(words: readonly string[]): string {
  return `${words.length}\0${words.map((word) => `${word}\0`).join("")}`;
}

/** Resolves when the process has ended; whoever is its parent still collects its exit status. */
export async function untilEnd(pid: number, pidFd: number, notify?: MonitorRequest["notify"]): Promise<void> {
  const config = memfdCreate("tsrun-monitor");
  try {
    const sockets = notify && { socket: 5, host: 6 };
    const request = { pid, pidFd: 4, master: -1, noSubreaper: true, watch: true, notify: sockets, cleanup: [] };
    write(config, encodeMonitor(request));
    const fds = [config, pidFd, ...(notify ? [notify.socket, notify.host] : [])];
    await untilExit({ binary: initBinary(), argv: ["tsrun-monitor", "3"], fds });
  } finally {
    closeQuiet(config);
  }
}

/** Replaces this process, keeping its pid and children. @throws SyscallError when it cannot; else never returns */
export function becomeMonitor(request: MonitorRequest): never {
  const config = memfdCreate("tsrun-monitor");
  write(config, encodeMonitor(request));
  const { pidFd, master, lockFd = -1, notify, witness } = request;
  const pairs = [notify?.socket, notify?.host, witness?.socket, witness?.record];
  for (const fd of [config, pidFd, master, lockFd, ...pairs]) {
    if (fd !== undefined && fd >= 0) setCloexec(fd, false);
  }
  try {
    execve(initBinary(), ["tsrun-monitor", String(config)], []);
  } finally {
    closeQuiet(config);
  }
}
