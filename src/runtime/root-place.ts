/**
 * Where the root of a container without a mount namespace is mounted: a directory of its state. Nobody else mounts there,
 * so that all of it can be taken away, and `delete` finds it without being told.
 */
import { isErrno } from "../errors.ts";
import { MNT_DETACH, O_CLOEXEC, O_DIRECTORY, O_PATH, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { open } from "../sys/file.ts";
import { mkdirSync, rmdirSync } from "../sys/fs.ts";
import { umount2 } from "../sys/mount.ts";
import type { StateDirectory, StateRecord } from "./state.ts";

/** In the directory of the state. */
export const ROOT_PLACE = "rootfs";

export function makeRootPlace(state: StateDirectory): string {
  const path = `${state.path}/${ROOT_PLACE}`;
  mkdirSync(path, { mode: 0o700 });
  return path;
}

export function removeRootPlace(state: StateDirectory): void {
  const path = `${state.path}/${ROOT_PLACE}`;
  try {
    // One may lie over another.
    for (;;) umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (error) {
    // Nothing is mounted there any more.
    if (!isErrno(error, "EINVAL")) throw error;
  }
  rmdirSync(path);
}

/** The root of the container's process as a descriptor, for others that are to have it. */
export function openRoot({ pid }: StateRecord): number {
  return open(`/proc/${pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
}
