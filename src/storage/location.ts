/** Where the store of the caller is. */
import { resolve } from "../path.ts";
import { readFileSync } from "../sys/fs.ts";

/** Where layers are kept: /var/lib/tsrun, for others than root $XDG_DATA_HOME/tsrun or ~/.local/share/tsrun. */
export function storageRoot(): string {
  if (!isUnprivileged(process.env)) return "/var/lib/tsrun";
  const data = process.env.XDG_DATA_HOME ?? `${process.env.HOME ?? "/nonexistent"}/.local/share`;
  return `${resolve(data)}/tsrun`;
}

/** As runc: not root, or root of a user namespace who has a directory of his own. */
export function isUnprivileged({ USER, XDG_RUNTIME_DIR }: Record<string, string | undefined>): boolean {
  if (process.geteuid?.() !== 0) return true;
  return Boolean(XDG_RUNTIME_DIR) && USER !== "root" && !isInitialMap(readFileSync("/proc/self/uid_map"));
}

/** In the initial user namespace every id is mapped to itself. */
function isInitialMap(text: string): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(text);
}
