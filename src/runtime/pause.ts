/** `pause` and `resume`: the processes of a container stop where they are, and go on. Rules: runc-pause(8). */
import { freeze, isFrozen, thaw } from "../cgroup/manager.ts";
import { StateError, TsrunError } from "../errors.ts";
import { statusOf } from "./lifecycle.ts";
import { stateRoot } from "./paths.ts";
import { StateDirectory, type StateRecord } from "./state.ts";

/**
 * Stops every process of a container where it is, until resumeContainer.
 *
 * @throws MissingError; StateError when it does not run, or has no cgroup; TsrunError when it does not freeze in time, or
 *   its cgroup cannot be seen
 */
export function pauseContainer(root: string | undefined, id: string): void {
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  if (status !== "running" && status !== "created") throw new StateError(`container not running: it is ${status}`);
  freeze(cgroupOf(record));
  // A cgroup that is gone has nothing left to freeze, and one that is not mounted here looks the same.
  const now = statusOf(record);
  if (now === "stopped") throw new StateError("container not running: it has ended meanwhile");
  if (now !== "paused") {
    throw new TsrunError("the container could not be paused: its cgroup is not there", {
      fix: "is the file system of cgroups mounted where the container was made?",
    });
  }
}

/**
 * Lets the processes of a paused container go on.
 *
 * @throws MissingError; StateError when it is not paused
 */
export function resumeContainer(root: string | undefined, id: string): void {
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  if (status !== "paused") throw new StateError(`container not paused: it is ${status}`);
  thaw(cgroupOf(record));
}

/**
 * Lets a process go on that we wait for. Who could pause it wants the lock that we have: its cgroup was frozen by a
 * `kill --all` or a `delete` that was itself killed half-way.
 */
export function thawForgotten({ cgroup }: Pick<StateRecord, "cgroup">): void {
  if (cgroup !== undefined && !cgroup.shared && isFrozen(cgroup)) thaw(cgroup);
}

function cgroupOf({ cgroup }: { cgroup: Parameters<typeof freeze>[0] | undefined }): Parameters<typeof freeze>[0] {
  if (cgroup !== undefined) return cgroup;
  throw new StateError("the container has no cgroup, so it cannot be paused", { fix: "delegate one to this user" });
}
