/**
 * The processes in containers that this program is the parent of and has not waited for. A pid namespace does not end before
 * each process in it was waited for: of one that this program forgets, the container could never be stopped. For
 * programs that go on after a call; the command line has ended by then.
 */
import { isErrno } from "../errors.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen, poll, type WaitStatus, waitid } from "../sys/process.ts";

const POLLIN = 1;

interface Child {
  pidFd: number;
  /** How it ended, until whoever awaits it has taken that. */
  status: WaitStatus | undefined;
  isAwaited: boolean;
}

/** By pid: a child that has not been waited for keeps its own. */
const execed = new Map<number, Child>();
let isListening = false;

/** Processes of containers. What is left of them tells how they ended, so they are waited for when they are deleted. */
const ofContainers = new Set<number>();

/** Of a process that `exec` has put into a container: awaits its end. */
export async function awaitExeced(pid: number, untilEnd: (pidFd: number) => Promise<void>): Promise<WaitStatus> {
  const child: Child = { pidFd: pidfdOpen(pid), status: undefined, isAwaited: true };
  execed.set(pid, child);
  try {
    await untilEnd(child.pidFd);
    return child.status ?? waitid({ pidFd: child.pidFd });
  } finally {
    forget(pid, child);
  }
}

/** Of one that nobody awaits: it is waited for when it has ended. */
export function leaveExeced(pid: number): void {
  if (!isListening) process.on("SIGCHLD", collectEnded);
  isListening = true;
  execed.set(pid, { pidFd: pidfdOpen(pid), status: undefined, isAwaited: false });
  // It may have ended before anybody listened.
  collectEnded();
}

function collectEnded(): void {
  for (const [pid, child] of execed) {
    child.status ??= waitid({ pidFd: child.pidFd }, { noHang: true });
    if (child.status !== undefined && !child.isAwaited) forget(pid, child);
  }
}

function forget(pid: number, child: Child): void {
  execed.delete(pid);
  closeQuiet(child.pidFd);
  if (!isListening || execed.size > 0) return;
  process.off("SIGCHLD", collectEnded);
  isListening = false;
}

/** Blocks until the process of a container has ended. @returns whether it has, in that time */
export function pollEnd(pidFd: number, timeoutMs: number): boolean {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const running = [...execed.values()].filter(({ status }) => status === undefined);
    const entries = [pidFd, ...running.map((child) => child.pidFd)].map((fd) => ({ fd, events: POLLIN }));
    const ready = poll(entries, Math.max(deadline - performance.now(), 0));
    if (ready[0] !== 0) return true;
    if (ready.every((events) => events === 0)) return false;
    collectEnded();
  }
}

export function leaveContainer(pid: number): void {
  ofContainers.add(pid);
}

/** Of a container that has been deleted. */
export function collectContainer(pid: number): void {
  if (!ofContainers.delete(pid)) return;
  try {
    waitid({ pid }, { noHang: true });
  } catch (error) {
    // This program ignores SIGCHLD, and the kernel has waited for it.
    if (!isErrno(error, "ECHILD")) throw error;
  }
}
