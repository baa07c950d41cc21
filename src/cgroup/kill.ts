/** Signals to all processes of a container's cgroup. Rules: kernel cgroup-v2.rst "cgroup.kill". */
import { isErrno } from "../errors.ts";
import { kill } from "../sys/process.ts";
import { waitUntil } from "../sys/wait.ts";
import { type Freezer, freezeGroup, thawGroup } from "./freezer.ts";
import { type CgroupRecord, cgroupProcesses, freezerOf, ownPaths } from "./record.ts";
import { writeFile } from "./write.ts";

const SIGKILL = 9;
/** After so many, a few milliseconds each, there is another reason than that processes take time to end. */
const PATIENT_ROUNDS = 4;

/**
 * Sends a signal to every process of the cgroup, unless it had processes before the container.
 * SIGKILL is repeated until none is left or 2 s are over.
 *
 * @throws SyscallError when we may not signal one of them
 */
export function killCgroup(record: CgroupRecord, signal: number): void {
  if (record.shared) return;
  if (signal !== SIGKILL) {
    signalAll(cgroupProcesses(record), signal);
    return;
  }
  const whole = killWhole(ownPaths(record)[""]);
  if (whole && record.layout === "v2") return;
  const freezer = freezerOf(record);
  let rounds = 0;
  waitUntil(() => {
    const pids = cgroupProcesses(record);
    if (pids.length === 0) return true;
    if (freezer?.version === 1 && ++rounds > PATIENT_ROUNDS) bringBack(freezer, pids);
    // Frozen, they cannot fork away from us; a v1 freezer keeps them from dying until thawed.
    if (freezer !== undefined) freezeQuietly(freezer);
    try {
      signalAll(cgroupProcesses(record), signal);
    } finally {
      if (freezer !== undefined) thawQuietly(freezer);
    }
    return false;
  }, 2000);
}

/**
 * Somebody else may have moved a process to a v1 freezer of his, which is frozen: nothing dies there. In one that is not
 * frozen the kernel thaws what comes.
 */
function bringBack({ dir }: Freezer, pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      writeFile(`${dir}/cgroup.procs`, String(pid));
    } catch {
      // It has ended, or may not be moved: then it is told of as one that does not die.
    }
  }
}

/** cgroup.kill, since Linux 5.14. */
function killWhole(dir: string | undefined): boolean {
  if (dir === undefined) return true;
  try {
    writeFile(`${dir}/cgroup.kill`, "1");
    return true;
  } catch (error) {
    if (isErrno(error, "ENODEV")) return true;
    // ENOENT: an older kernel, or the cgroup is gone. EOPNOTSUPP: threaded. The others: signals need no cgroup that is
    // writable, and of one that was given to a user this file is still root's.
    if (isErrno(error, "ENOENT", "EOPNOTSUPP", "EROFS", "EACCES", "EPERM")) return false;
    throw error;
  }
}

function freezeQuietly(freezer: Freezer): void {
  try {
    freezeGroup(freezer);
  } catch {
    // It was thawed again; killing works without, in more rounds perhaps.
  }
}

function thawQuietly(freezer: Freezer): void {
  try {
    thawGroup(freezer);
  } catch (error) {
    // Then we did not freeze it either.
    if (!isErrno(error, "EROFS", "EACCES", "EPERM")) throw error;
  }
}

function signalAll(pids: readonly number[], signal: number): void {
  for (const pid of pids) {
    try {
      kill(pid, signal);
    } catch (error) {
      // It ended meanwhile.
      if (!isErrno(error, "ESRCH")) throw error;
    }
  }
}
