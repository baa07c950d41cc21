/** `state`, `list` and `ps`: what there is. Rules: OCI runtime.md "State"; runc's JSON. */

import { cgroupProcesses } from "../cgroup/manager.ts";
import { inFull, isErrno, SpecError, StateError } from "../errors.ts";
import { warn } from "../log.ts";
import { readdirSync, readFileSync } from "../sys/fs.ts";
import { hasEndedWhole, statusOf } from "./lifecycle.ts";
import type { ContainerState, ContainerSummary } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { containerExit } from "./post-mortem.ts";
import { DamagedError, ForeignError, StateDirectory, type StateRecord } from "./state.ts";

/**
 * The OCI state of a container, as the kernel has it now, and how it ended where that is known.
 *
 * @param root the directory of states; undefined: that of the command line
 * @throws MissingError when there is no such container; StateError when its state cannot be understood
 */
export function containerState(root: string | undefined, id: string): ContainerState {
  const state = new StateDirectory(stateRoot(root), id);
  const record = state.read();
  const description = describe(record, "");
  if (description.status !== "stopped" || record.pid === 0) return description;
  const exit = containerExit(state, record);
  return exit === undefined ? description : { ...description, exit };
}

/**
 * Every container of a root, by name. One that is being made or removed is left out; one that is damaged, another
 * runtime's or another user's is left out and warned of.
 *
 * @throws StateError for a root of "/"
 */
export function listContainers(root?: string | undefined): ContainerSummary[] {
  const directory = stateRoot(root);
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
  const users = userNames();
  const summaries: ContainerSummary[] = [];
  for (const name of names) {
    const record = readListed(directory, name);
    if (record !== undefined) summaries.push(describe(record, users.get(record.owner) ?? String(record.owner)));
  }
  return summaries;
}

function readListed(directory: string, name: string): StateRecord | undefined {
  try {
    return new StateDirectory(directory, name).read();
  } catch (error) {
    if (error instanceof DamagedError || error instanceof ForeignError) warn(error.message);
    else if (isErrno(error, "EACCES", "EPERM")) warn(`container ${name} is not for this user to see: ${inFull(error)}`);
    // Something else that lies there, or a state that is just being written.
    else if (!(error instanceof StateError || error instanceof SpecError)) throw error;
    return undefined;
  }
}

/**
 * Pids as the host sees them, of every process in the container's cgroup; of one that has stopped none.
 *
 * @throws MissingError when it does not exist
 */
export function containerProcesses(root: string | undefined, id: string): number[] {
  const record = new StateDirectory(stateRoot(root), id).read();
  if (hasEndedWhole(record)) return [];
  if (!record.cgroup || Object.keys(record.cgroup.paths).length === 0) {
    return statusOf(record) === "stopped" ? [] : [record.pid];
  }
  return cgroupProcesses(record.cgroup);
}

function describe(record: StateRecord, owner: string): ContainerState {
  const status = statusOf(record);
  return {
    ociVersion: record.ociVersion,
    id: record.id,
    pid: status === "stopped" ? 0 : record.pid,
    status,
    bundle: record.bundle,
    rootfs: record.rootfs,
    created: record.created,
    ...(Object.keys(record.annotations).length > 0 ? { annotations: record.annotations } : {}),
    owner,
  };
}

function userNames(): Map<number, string> {
  try {
    const lines = readFileSync("/etc/passwd").split("\n");
    return new Map(lines.map((line) => line.split(":")).map((fields) => [Number(fields[2]), fields[0] ?? ""]));
  } catch {
    return new Map();
  }
}
