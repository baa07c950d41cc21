/**
 * The config of `try`: a process over a view of the running system. It has the system's network, ids and host name, and
 * all that root has; its own are the mounts and the process ids. Pure.
 */
import { CAPABILITIES } from "./capabilities.ts";
import { OCI_VERSION } from "./defaults.ts";
import type { Mount, Spec } from "./types.ts";

export interface TryRequest {
  /** The mounted view. */
  root: string;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  /** Mount points of the system other than /, in the order of their mounting. */
  mounts: readonly { point: string; type: string }[];
  /** How many capabilities the kernel knows. */
  lastCap: number;
}

/** File systems of the kernel's own: the view gets new ones, or the same. */
const KERNEL = [
  "proc",
  "sysfs",
  "devtmpfs",
  "devpts",
  "mqueue",
  "cgroup",
  "cgroup2",
  "securityfs",
  "debugfs",
  "tracefs",
];

export function trySpec({ root, args, env, cwd, mounts, lastCap }: TryRequest): Spec {
  const all = CAPABILITIES.slice(0, lastCap + 1);
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [...args],
      env: [...env],
      cwd,
      capabilities: { bounding: all, effective: all, permitted: all },
      noNewPrivileges: false,
    },
    root: { path: root },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "bind", source: "/dev", options: ["rbind", "rslave"] },
      { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rslave", "ro"] },
      ...systemMounts(mounts),
    ],
    linux: { namespaces: [{ type: "pid" }, { type: "mount" }] },
  };
}

/** What is mounted elsewhere is no part of the view's layer: it can be read, and a write to it is refused. */
function systemMounts(mounts: TryRequest["mounts"]): Mount[] {
  const found: Mount[] = [];
  for (const { point, type } of mounts) {
    const isOurs = ["/proc", "/dev", "/sys"].some((top) => point === top || point.startsWith(`${top}/`));
    // A place that only temporary files are in becomes an empty one.
    const isTemporary = type === "tmpfs" && /^\/(var\/)?tmp$/.test(point);
    if (isOurs || KERNEL.includes(type) || found.some(({ destination }) => destination === point)) continue;
    // Below one that is bound already it comes with it.
    if (found.some(({ destination, type: kind }) => kind === "bind" && point.startsWith(`${destination}/`))) continue;
    if (isTemporary) {
      found.push({ destination: point, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=1777"] });
    } else found.push({ destination: point, type: "bind", source: point, options: ["rbind", "rslave", "rro"] });
  }
  return found;
}
