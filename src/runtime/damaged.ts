/**
 * `delete --force` of a container whose state.json is not there or says nothing: a power failure may leave that of a disk,
 * a full disk that of a copy. What can be found by the container's id is removed, and the rest is told of.
 */
import { likelyProcesses, removeLikely } from "../cgroup/search.ts";
import { isErrno, StateError } from "../errors.ts";
import { warn } from "../log.ts";
import { removeRootfs } from "../storage/rootfs.ts";
import { readFileSync } from "../sys/fs.ts";
import { storageRoot } from "./paths.ts";
import { removeState } from "./remove-state.ts";
import { DamagedError, type StateDirectory } from "./state.ts";

/** @throws StateError while processes live that may be the container's: without a record nobody can tell */
export function deleteDamaged(state: StateDirectory, reason: StateError): void {
  const { id } = state;
  const cgroupsPath = cgroupsPathOf(state);
  const pids = likelyProcesses(id, cgroupsPath);
  if (pids.length > 0) {
    throw new StateError(
      `${reason.message}, and processes are in a cgroup of its name: ${pids.slice(0, 10).join(" ")}`,
      {
        fix: `end them if they are the container's, and delete it again: tsrun delete --force ${id}`,
      },
    );
  }
  removeLikely(id, cgroupsPath);
  try {
    removeRootfs({ id, storageRoot: storageRoot(), stateDir: state.path });
  } catch (error) {
    // Who may not look into the store has made nothing there.
    if (!isErrno(error, "EACCES")) throw error;
  }
  removeState(state);
  // Of one that was never written nothing was made but the directory.
  if (!(reason instanceof DamagedError)) return;
  warn(
    `${reason.message}: its poststop hooks are not run, and what it had in another store or by --network is not removed`,
  );
}

/** config.json is written after state.json, and may be as damaged. */
function cgroupsPathOf(state: StateDirectory): string | undefined {
  try {
    const path: unknown = JSON.parse(readFileSync(state.configFile))?.linux?.cgroupsPath;
    return typeof path === "string" ? path : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || isErrno(error, "ENOENT", "ENOTDIR", "EISDIR")) return undefined;
    throw error;
  }
}
