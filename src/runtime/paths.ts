/** Where state is kept, and paths as the caller meant them. */
import { StateError } from "../errors.ts";
import { resolve } from "../path.ts";
import { readFileSync, statSync } from "../sys/fs.ts";

/**
 * The directory of container states.
 *
 * @param root as asked for; undefined: /run/tsrun, for others than root $XDG_RUNTIME_DIR/tsrun or /run/user/UID/tsrun
 * @throws StateError for "/", and when there is no directory of the caller's own
 */
export function stateRoot(root: string | undefined): string {
  if (root !== undefined && root !== "") {
    const path = resolve(root);
    if (path === "/") throw new StateError("the root of container states cannot be /", { fix: "--root DIR" });
    return path;
  }
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0) return "/run/tsrun";
  const directory = runtimeDirectory(uid, process.env);
  if (directory !== undefined) return `${directory}/tsrun`;
  throw new StateError("no directory for container states: XDG_RUNTIME_DIR is not set", { fix: "--root DIR" });
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

/** As where the states of the command line are: not root, or root of a user namespace who has a directory of his own. */
function isUnprivileged({ USER, XDG_RUNTIME_DIR }: Record<string, string | undefined>): boolean {
  if (process.geteuid?.() !== 0) return true;
  return Boolean(XDG_RUNTIME_DIR) && USER !== "root" && !isInitialMap(readFileSync("/proc/self/uid_map"));
}

function isInitialMap(text: string): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(text);
}

/** Where layers are kept: beside the state for others than root. */
export function storageRoot(): string {
  if (!isUnprivileged(process.env)) return "/var/lib/tsrun";
  const data = process.env.XDG_DATA_HOME ?? `${process.env.HOME ?? "/nonexistent"}/.local/share`;
  return `${resolve(data)}/tsrun`;
}
