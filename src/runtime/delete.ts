/**
 * `delete`: removes what create made, and nothing else. Rules: OCI runtime.md "Delete"; runc-delete(8).
 *
 * Everything is found from the state, which goes last: a delete that is killed half-way is simply done again.
 */
import { destroyCgroup, killCgroup } from "../cgroup/manager.ts";
import { isErrno, StateError } from "../errors.ts";
import { removeRootfs } from "../storage/rootfs.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen, pollFd } from "../sys/process.ts";
import { signalProcess } from "./kill.ts";
import { isAlive, statusOf } from "./lifecycle.ts";
import type { DeleteOptions } from "./options.ts";
import { stateRoot, storageRoot } from "./paths.ts";
import { removeState } from "./remove-state.ts";
import { MissingError, StateDirectory, type StateRecord } from "./state.ts";

const SIGKILL = 9;
const POLLIN = 1;
/** How long a process may take to die: one that waits for a disk or a network file system does not at once. */
const KILL_TIMEOUT_MS = 10_000;

/** @throws StateError when it runs and `force` is not given, or is not there and `force` is not given */
export function deleteContainer(root: string | undefined, id: string, { force = false }: DeleteOptions = {}): void {
  const state = new StateDirectory(stateRoot(root), id);
  try {
    using _lock = state.lock();
    const record = readForced(state, force);
    if (record) deleteLocked(state, record, force);
    // Killed before the state was written: all there can be is the directory.
    else removeState(state);
  } catch (error) {
    // Engines delete twice.
    if (!(force && error instanceof MissingError)) throw error;
  }
}

/** @returns undefined when there is no record and `force` is given */
function readForced(state: StateDirectory, force: boolean): StateRecord | undefined {
  try {
    return state.read();
  } catch (error) {
    if (force && error instanceof MissingError) return undefined;
    throw error;
  }
}

function deleteLocked(state: StateDirectory, record: StateRecord, force: boolean): void {
  const status = statusOf(record);
  if (status === "running" || status === "paused") {
    if (!force) throw new StateError(`cannot delete container ${record.id} that is not stopped: ${status}`);
    end(record);
  } else if (status === "created") {
    end(record);
  } else if (status === "creating" && !force) {
    throw new StateError(`cannot delete container ${record.id} that is not stopped: ${status}`, {
      fix: `tsrun delete --force ${record.id}`,
    });
  }
  if (record.cgroup) destroyCgroup(record.cgroup, { kill: true });
  removeRootfs({ id: record.id, storageRoot: record.overlay?.storageRoot ?? storageRoot(), stateDir: state.path });
  removeState(state);
}

/** SIGKILL, and waits until it has died. @throws StateError when it does not in time */
function end(record: StateRecord): void {
  if (record.cgroup) killCgroup(record.cgroup, SIGKILL);
  if (!signalProcess(record, SIGKILL)) return;
  let pidFd: number;
  try {
    pidFd = pidfdOpen(record.pid);
  } catch (error) {
    if (isErrno(error, "ESRCH", "EINVAL")) return;
    throw error;
  }
  try {
    if (isAlive(record.pid, record.startTime) && pollFd(pidFd, POLLIN, KILL_TIMEOUT_MS) === 0) {
      throw new StateError("container init still running", {
        fix: `process ${record.pid} does not die: see /proc/${record.pid}/stack for what it waits for`,
      });
    }
  } finally {
    closeQuiet(pidFd);
  }
}
