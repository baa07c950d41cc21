/** Where state is kept, and paths as the caller meant them. */
import { StateError } from "../errors.ts";
import { resolve } from "../path.ts";
import { isUnprivileged } from "../storage/location.ts";
import { statSync } from "../sys/fs.ts";

export { storageRoot } from "../storage/location.ts";

/**
 * The directory of container states.
 *
 * @param root as asked for; undefined: /run/tsrun, for others than root $XDG_RUNTIME_DIR/tsrun or /run/user/UID/tsrun
 * @throws StateError for "/"
 */
export function stateRoot(root: string | undefined, env: Record<string, string | undefined> = process.env): string {
  if (root !== undefined && root !== "") {
    const path = resolve(root);
    if (path === "/") throw new StateError("the root of container states cannot be /", { fix: "--root DIR" });
    return path;
  }
  const directory = isUnprivileged(env) ? runtimeDirectory(process.geteuid?.() ?? 0, env) : undefined;
  return `${directory ?? "/run"}/tsrun`;
}

/** A user's own directory for what lasts as long as he is logged in; where nothing names it, systemd's. */
function runtimeDirectory(uid: number, env: Record<string, string | undefined>): string | undefined {
  if (env.XDG_RUNTIME_DIR) return resolve(env.XDG_RUNTIME_DIR);
  const usual = `/run/user/${uid}`;
  return statSync(usual)?.uid === uid ? usual : undefined;
}

/** A path as the caller's working directory has it. */
export function absolutePath(path: string): string {
  return resolve(path);
}
