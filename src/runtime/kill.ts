/** `kill`: a signal to the container's process, or to all of them. Rules: OCI runtime.md "Kill"; runc-kill(8). */
import { hasOwnProcesses, isFrozen, killCgroup, thaw } from "../cgroup/manager.ts";
import { isErrno, StateError, TsrunError } from "../errors.ts";
import { signalNumber } from "../sys/constants.ts";
import { pidfdSendSignal } from "../sys/process.ts";
import { hasEndedWhole, statusOf } from "./lifecycle.ts";
import type { KillOptions } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { openRecorded } from "./recorded.ts";
import { StateDirectory, type StateRecord } from "./state.ts";

const SIGKILL = 9;

export { SIGNALS, signalNumber } from "../sys/constants.ts";

/**
 * Sends a signal to the first process of a container or, with `all`, to each.
 *
 * @param signal its number, where 0 asks whether the process is there, or its name: "SIGTERM", "TERM", "RTMIN+3"
 * @throws MissingError; StateError "container not running"; TsrunError for what is no signal
 */
export function killContainer(
  root: string | undefined,
  id: string,
  signal: number | string,
  options: KillOptions = {},
): void {
  const number = typeof signal === "number" ? signal : signalNumber(signal);
  if (number === undefined) throw new TsrunError(`unknown signal ${JSON.stringify(signal)}`);
  sendSignal(root, id, number, options);
}

function sendSignal(root: string | undefined, id: string, signal: number, options: KillOptions): void {
  const record = new StateDirectory(stateRoot(root), id).read();
  const status = statusOf(record);
  if (options.all) {
    // No error when it has stopped: what is left of it, if anything, gets the signal.
    if (hasEndedWhole(record)) return;
    if (record.cgroup && hasOwnProcesses(record.cgroup)) killCgroup(record.cgroup, signal);
    // A rootless container may have no cgroup: there its process is all that can be found.
    else signalProcess(record, signal);
    return;
  }
  if (status !== "running" && status !== "created" && status !== "paused")
    throw new StateError("container not running");
  // Without a pid namespace of its own the end of the first process does not end the others.
  if (signal === SIGKILL && !record.ownPidNamespace && record.cgroup && hasOwnProcesses(record.cgroup)) {
    killCgroup(record.cgroup, signal);
    return;
  }
  if (!signalProcess(record, signal)) throw new StateError("container not running");
  // A frozen process dies only when it is thawed.
  if (signal === SIGKILL && record.cgroup && isFrozen(record.cgroup)) thaw(record.cgroup);
}

/** Signals the process that was recorded or none: never one that has its pid now. @returns whether it was there */
export function signalProcess(record: Pick<StateRecord, "pid" | "startTime">, signal: number): boolean {
  using process = openRecorded(record);
  if (process === undefined) return false;
  try {
    pidfdSendSignal(process.fd, signal);
    return true;
  } catch (error) {
    if (isErrno(error, "ESRCH")) return false;
    throw error;
  }
}
