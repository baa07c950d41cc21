/**
 * Who sees a container's cgroup to its end where systemd removes it with the last process. Of a detached container it is the
 * only process of ours that stays, in a few pages of memory, until the container has ended.
 *
 * It writes the record of the end (post-mortem.ts), and holds a lock on that until it has: who finds the cgroup gone
 * and the record empty waits for the lock.
 */
import type { CgroupRecord } from "../cgroup/manager.ts";
import { isPopulated, isScope, tallyFiles } from "../cgroup/tally.ts";
import { isErrno, TsrunError } from "../errors.ts";
import { startWitness } from "../init/witness.ts";
import { debug } from "../log.ts";
import { O_CREAT, O_NOFOLLOW, O_RDONLY, O_RDWR } from "../sys/constants.ts";
import { closeQuiet, Fd, flock, open, unlock } from "../sys/file.ts";
import { pidfdOpen } from "../sys/process.ts";
import { waitUntil } from "../sys/wait.ts";
import type { StateDirectory, StateRecord } from "./state.ts";

/** It has the right of way over everybody else; this is for a machine that stands still. */
const TIMEOUT_MS = 5000;

export interface Witness extends Disposable {
  /** See startWitness. */
  socket: number;
  /** The record that it writes, to be read. */
  record: number;
}

/**
 * For who has the lock of the state, before the process of the container is executed. Without a witness the container
 * does as well, and its figures are not known.
 *
 * @returns undefined where none is needed
 */
export function callWitness(state: StateDirectory, { cgroup, pid }: StateRecord): Witness | undefined {
  if (cgroup === undefined || cgroup.shared || !isScope(cgroup)) return undefined;
  const unified = cgroup.paths[""];
  const news = unified === undefined ? "" : `${unified}/cgroup.events`;
  let record: number | undefined;
  try {
    using toWrite = new Fd(open(state.exitFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600));
    flock(toWrite.fd);
    using container = new Fd(pidfdOpen(pid));
    // Opened anew: who has a descriptor of the same opening has the lock, too.
    record = open(state.exitFile, O_RDONLY | O_NOFOLLOW);
    const request = { pidFd: container.fd, recordFd: toWrite.fd, news, files: tallyFiles(cgroup) };
    return witnessOf(startWitness(request), record);
  } catch (error) {
    closeQuiet(record);
    if (!(error instanceof TsrunError)) throw error;
    debug(`nobody sees the cgroup to its end: ${error.message}`);
    return undefined;
  }
}

function witnessOf(socket: number, record: number): Witness {
  return {
    socket,
    record,
    [Symbol.dispose]() {
      closeQuiet(socket);
      closeQuiet(record);
    },
  };
}

/**
 * Of a container that has ended: waits until its witness has written the record.
 *
 * @param exitFd a descriptor of the record
 */
export function awaitWitness(cgroup: CgroupRecord | undefined, exitFd: number): void {
  // Processes that outlive the first one are waited for by the witness, and by nobody else.
  if (cgroup === undefined || !isScope(cgroup) || isPopulated(cgroup)) return;
  waitUntil(() => isUnlocked(exitFd), TIMEOUT_MS);
}

function isUnlocked(fd: number): boolean {
  try {
    flock(fd, { exclusive: false, nonBlock: true });
    unlock(fd);
    return true;
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return false;
    throw error;
  }
}
