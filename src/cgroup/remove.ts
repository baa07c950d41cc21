/** Removing cgroups: rmdir(2) bottom up, with patience, as processes leave a cgroup only after they were reaped. */
import { isErrno, SyscallError, TsrunError } from "../errors.ts";
import { rmdirSync } from "../sys/fs.ts";
import { waitUntil } from "../sys/wait.ts";
import { groupProcesses } from "./files.ts";
import { removeBelow } from "./tree.ts";
import { codeOf } from "./write.ts";

const TIMEOUT_MS = 2000;

/**
 * Removes a cgroup and those below it. One that is gone is fine.
 *
 * @throws TsrunError naming the processes that are still in it after 2 s
 */
export function removeGroup(dir: string): void {
  if (waitUntil(() => tryRemove(dir), TIMEOUT_MS)) return;
  throw new LeftError(dir);
}

/** A cgroup stays, as processes are in it that do not end. */
export class LeftError extends TsrunError {
  constructor(dir: string) {
    const pids = groupProcesses(dir);
    const left = pids.length === 0 ? "" : `: ${pids.length} process(es) left: ${pids.slice(0, 10).join(" ")}`;
    super(`cannot remove cgroup ${dir}: EBUSY${left}`, {
      fix: "end them, or delete the container that they are of; one that SIGKILL does not end is in uninterruptible sleep (state D in ps)",
    });
  }
}

/** Removes a cgroup unless somebody uses it. */
export function removeIfUnused(dir: string): void {
  remove(dir);
}

function tryRemove(dir: string): boolean {
  // Most have nothing below: the first call is then the only one.
  if (remove(dir)) return true;
  removeBelow(dir);
  return remove(dir);
}

/** Says false for a cgroup with processes or with cgroups below. */
function remove(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return true;
    // ENOTEMPTY is what rmdir of other filesystems says; EINTR when cgroup_mutex is waited for.
    if (isErrno(error, "EBUSY", "ENOTEMPTY", "EINTR")) return false;
    throw new SyscallError("rmdir", codeOf(error), { path: dir });
  }
}
