/**
 * `delete`: removes what create made, and nothing else. Rules: OCI runtime.md "Delete"; runc-delete(8).
 *
 * Everything is found from the state, which goes last: a delete that is killed half-way is simply done again.
 */
import { destroyCgroup } from "../cgroup/manager.ts";
import { inFull, isErrno, StateError } from "../errors.ts";
import { warn } from "../log.ts";
import type { Hooks } from "../spec/types.ts";
import { ownTrees, removeRootfs } from "../storage/rootfs.ts";
import { statSync } from "../sys/fs.ts";
import { collectContainer } from "./children.ts";
import { deleteDamaged } from "./damaged.ts";
import { endContainer } from "./end.ts";
import { inUserNamespace } from "./helper-init.ts";
import { runHooksAnyhow } from "./hooks.ts";
import { mapIds } from "./idmap.ts";
import { removeRdt } from "./intel-rdt.ts";
import { hasEndedWhole, statusOf } from "./lifecycle.ts";
import type { DeleteOptions } from "./options.ts";
import { stateRoot, storageRoot } from "./paths.ts";
import { keepExit } from "./post-mortem.ts";
import { endProgram } from "./program-record.ts";
import { removeState } from "./remove-state.ts";
import { DamagedError, MissingError, readHooks, StateDirectory, type StateRecord } from "./state.ts";

/** With `force` everything goes in bounded time: how long a poststop hook may take that has no timeout of its own. */
const FORCED_HOOK_S = 30;

/**
 * Removes a container that has stopped, or was never started, and all that was made for it; runs its poststop hooks.
 *
 * @throws MissingError when it is not there, StateError when it runs: neither with `force`, which kills it first
 */
export function deleteContainer(root: string | undefined, id: string, { force = false }: DeleteOptions = {}): void {
  const state = new StateDirectory(stateRoot(root), id);
  try {
    using _lock = state.lock();
    const record = readForced(state, force);
    if (record instanceof StateError) deleteDamaged(state, record);
    else deleteLocked(state, record, force);
  } catch (error) {
    // Engines delete twice.
    if (!(force && error instanceof MissingError)) throw error;
  }
}

/** @returns why there is no record, when `force` is given */
function readForced(state: StateDirectory, force: boolean): StateRecord | StateError {
  try {
    return state.read();
  } catch (error) {
    if (force && (error instanceof MissingError || error instanceof DamagedError)) return error;
    if (!(error instanceof MissingError)) throw error;
    throw new MissingError(error.message, {
      fix: `a create that was killed has left its name taken: tsrun delete --force ${state.id}`,
    });
  }
}

/** For who has the lock. */
export function deleteLocked(state: StateDirectory, record: StateRecord, force: boolean): void {
  const status = statusOf(record);
  if (status === "running" || status === "paused") {
    if (!force) throw new StateError(`cannot delete container ${record.id} that is not stopped: ${status}`);
    endContainer(record);
  } else if (status === "created") {
    endContainer(record);
  } else if (status === "creating" && !force) {
    throw new StateError(`cannot delete container ${record.id} that is not stopped: ${status}`, {
      fix: `tsrun delete --force ${record.id}`,
    });
  }
  tellEnd(state, record);
  if (record.cgroup) destroyCgroup(record.cgroup, { kill: !hasEndedWhole(record) });
  if (record.intelRdt) removeRdt(record.intelRdt);
  if (record.network) endProgram(record.network);
  if (record.fuse) endProgram(record.fuse);
  removeLayers(state, record);
  // Before the state goes: should we be killed meanwhile, the next delete runs them.
  if (record.hooks?.includes("poststop")) runPoststop(state, record, force);
  removeState(state);
  collectContainer(record.pid);
}

/** To who waits for it. What cannot be written for want of room is no reason to keep what takes it. */
function tellEnd(state: StateDirectory, record: StateRecord): void {
  try {
    keepExit(state, record);
  } catch (error) {
    if (!isErrno(error, "ENOSPC", "EDQUOT", "EIO")) throw error;
    warn(`how ${record.id} ended cannot be told to who waits for it: ${inFull(error)}`);
  }
}

function runPoststop(state: StateDirectory, record: StateRecord, force: boolean): void {
  // Not written yet, and no hook has heard of the container; or removed by a delete that was killed after they had run.
  if (statSync(state.configFile) === undefined) return;
  let hooks: Hooks | undefined;
  try {
    hooks = readHooks(state, record, "poststop");
  } catch (error) {
    // Written in part by a create that was killed.
    if (record.phase === "creating") return;
    if (!force) throw error;
    warn(`the poststop hooks of ${record.id} are not run: ${inFull(error)}`);
  }
  runHooksAnyhow(hooks, "poststop", record, force ? FORCED_HOOK_S : undefined);
}

/** What a container of an ordinary user made may belong to his other ids: it is removed in a namespace that has them. */
function removeLayers(state: StateDirectory, record: StateRecord): void {
  const { id, phase, overlay, idMaps, storageRoot: asked } = record;
  // What is made in a store is recorded before a container is created: only a create that was killed has more.
  if (overlay === undefined && phase !== "creating") return;
  const store = overlay?.storageRoot ?? asked ?? storageRoot();
  const isLimited = overlay === undefined ? undefined : overlay.isLimited === true;
  const request = { id, storageRoot: store, stateDir: state.path, isLimited };
  try {
    removeRootfs(request);
    return;
  } catch (error) {
    // Who may not look into the store has made nothing there.
    if (overlay === undefined && isErrno(error, "EACCES")) return;
    if (overlay === undefined || idMaps === undefined || !isErrno(error, "EACCES", "EPERM")) throw error;
  }
  const host = { privileged: false, euid: process.geteuid?.() ?? 0, egid: process.getegid?.() ?? 0 };
  inUserNamespace(
    `the read-write layer of ${id}`,
    ownTrees(overlay).map((path) => ["removeTree", path]),
    (pid) => mapIds(pid, { uidMappings: [...idMaps.uids], gidMappings: [...idMaps.gids], host }),
  );
  removeRootfs(request);
}
