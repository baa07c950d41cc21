/** Removes the directory of a container's state: what tsrun put there and nothing else. */
import { isErrno } from "../errors.ts";
import { rmdirSync, unlinkSync } from "../sys/fs.ts";
import type { StateDirectory } from "./state.ts";

/** state.json goes last: while it is there, another `delete` can find what the rest names. */
export const STATE_FILES = ["start.sock", "config.json", "state.json.new", "state.json"] as const;

export function removeState(state: StateDirectory): void {
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
