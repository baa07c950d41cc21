/**
 * Walking a cgroup with all below it. The container may have made what is below: names of any bytes, to any depth,
 * and gone while we look. So everything goes by descriptor, one at a time, and names are never joined to paths.
 */
import { isErrno } from "../errors.ts";
import { check } from "../sys/call.ts";
import { AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../sys/constants.ts";
import { syscall } from "../sys/ffi.ts";
import { closeQuiet, open, openat, unlinkat } from "../sys/file.ts";
import { SYS } from "../sys/numbers.ts";
import { viewOf } from "../sys/structs.ts";

const FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
const DT_DIR = 4;

interface Level {
  /** In the cgroup above; undefined for the top. */
  name: Uint8Array | undefined;
  /** Cgroups below that are still to be visited. */
  below: Uint8Array[];
}

/**
 * Calls `enter` for each cgroup before those below it, and `leave` for each but the top after those below it.
 * What vanishes meanwhile is left out.
 */
export function walkGroups(
  top: string,
  enter: ((group: number) => void) | undefined,
  leave: ((above: number, name: Uint8Array) => void) | undefined,
): void {
  const levels: Level[] = [];
  const buffer = new Uint8Array(32768);
  let fd = tryOpen(() => open(top, FLAGS));
  if (fd === undefined) return;
  try {
    enter?.(fd);
    levels.push({ name: undefined, below: childNames(fd, buffer) });
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const here: number = fd;
      const name = level.below.pop();
      if (name !== undefined) {
        const child = tryOpen(() => openat(here, name, FLAGS));
        if (child === undefined) continue;
        closeQuiet(here);
        fd = child;
        enter?.(child);
        levels.push({ name, below: childNames(child, buffer) });
      } else {
        levels.pop();
        if (level.name === undefined) return;
        // A cgroup never moves to another parent, so that this is the one we came from; when it is gone, so are we.
        const above = tryOpen(() => openat(here, "..", FLAGS));
        if (above === undefined) return;
        closeQuiet(here);
        fd = above;
        leave?.(above, level.name);
      }
    }
  } finally {
    closeQuiet(fd);
  }
}

/** rmdir(2) of every cgroup below this one that has no process. */
export function removeBelow(top: string): void {
  walkGroups(top, undefined, (above, name) => {
    try {
      unlinkat(above, name, AT_REMOVEDIR);
    } catch (error) {
      // In use, or gone.
      if (!isErrno(error, "EBUSY", "ENOTEMPTY", "ENOENT", "ENODEV")) throw error;
    }
  });
}

function tryOpen(act: () => number): number | undefined {
  try {
    return act();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
}

/** Names of the directories in one: struct linux_dirent64 is d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name. */
function childNames(fd: number, buffer: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = [];
  const view = viewOf(buffer);
  for (;;) {
    const length = syscall(SYS.getdents64, fd, buffer, buffer.length);
    // ENOENT: removed while we were in it.
    if (length === 0 || length === -2) return names;
    check(length, "read directory");
    for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
      if (view.getUint8(at + 18) !== DT_DIR) continue;
      const name = buffer.slice(at + 19, buffer.indexOf(0, at + 19));
      if (!isDots(name)) names.push(name);
    }
  }
}

function isDots(name: Uint8Array): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}
