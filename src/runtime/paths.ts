/** Where state is kept, and paths as the caller meant them. */
import { StateError } from "../errors.ts";
import { resolve } from "../path.ts";

/**
 * The directory of container states.
 *
 * @param root as asked for; undefined: /run/tsrun, for others than root $XDG_RUNTIME_DIR/tsrun
 * @throws StateError for "/", and when there is no directory of the caller's own
 */
export function stateRoot(root: string | undefined): string {
  if (root !== undefined && root !== "") {
    const path = resolve(root);
    if (path === "/") throw new StateError("the root of container states cannot be /", { fix: "--root DIR" });
    return path;
  }
  if (process.geteuid?.() === 0) return "/run/tsrun";
  const runtimeDir = process.env.XDG_RUNTIME_DIR;
  if (runtimeDir) return `${resolve(runtimeDir)}/tsrun`;
  throw new StateError("no directory for container states: XDG_RUNTIME_DIR is not set", { fix: "--root DIR" });
}

/** A path as the caller's working directory has it. */
export function absolutePath(path: string): string {
  return resolve(path);
}

/** Where layers are kept: beside the state for others than root. */
export function storageRoot(): string {
  if (process.geteuid?.() === 0) return "/var/lib/tsrun";
  const data = process.env.XDG_DATA_HOME ?? `${process.env.HOME ?? "/nonexistent"}/.local/share`;
  return `${resolve(data)}/tsrun`;
}
