/** Removes the directory of a container's state: what tsrun put there and nothing else. */
import { isErrno, StateError } from "../errors.ts";
import { readdirSync, rmdirSync, unlinkSync } from "../sys/fs.ts";
import { NOTIFY_DIRECTORY, removeNotify } from "./notify.ts";
import { ROOT_PLACE, removeRootPlace } from "./root-place.ts";
import type { StateDirectory } from "./state.ts";

/** state.json goes last: while it is there, another `delete` can find what the rest names. */
export const STATE_FILES = ["start.sock", "exit", "config.json", "state.json.new", "state.json"] as const;

/** @throws StateError when something else is in it: a directory that cannot go must keep its state.json */
export function removeState(state: StateDirectory): void {
  const names = namesIn(state.path);
  const ours: readonly string[] = [...STATE_FILES, NOTIFY_DIRECTORY, ROOT_PLACE];
  const others = names.filter((name) => !ours.includes(name));
  if (others.length > 0) {
    throw new StateError(`${state.path} has what is not tsrun's: ${others.slice(0, 10).join(" ")}`, {
      fix: "unmount what is mounted there, remove the rest, and delete the container again",
    });
  }
  if (names.includes(ROOT_PLACE)) removeRootPlace(state);
  if (names.includes(NOTIFY_DIRECTORY)) removeNotify(state);
  for (const name of STATE_FILES) {
    try {
      unlinkSync(`${state.path}/${name}`);
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    }
  }
  try {
    rmdirSync(state.path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    // Without a descriptor nobody can look: a create that fails for want of one should leave nothing all the same.
    if (isErrno(error, "ENOENT", "ENOTDIR", "EMFILE", "ENFILE")) return [];
    throw error;
  }
}
