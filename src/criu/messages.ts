/**
 * The messages of criu's service, as far as tsrun has a use for them.
 * Rules: criu's images/rpc.proto; criu.org "RPC". Numbers as in criu 3.17, which keeps those of older ones.
 */
import type { Message, Shape } from "./protobuf.ts";

/** What is asked of criu, and what it answers to. */
export const TYPE = { DUMP: 1, RESTORE: 2, PRE_DUMP: 4, NOTIFY: 6 } as const;

/** How connections are kept still while they are dumped: `network_lock`. */
export const NETWORK_LOCKS = { iptables: 1, nftables: 2, skip: 3 } as const;

/** How criu deals with cgroups: `manage_cgroups_mode`. */
export const CGROUP_MODES = { ignore: 0, soft: 3, full: 4, strict: 5 } as const;

const OPTIONS = {
  /** Descriptors are numbers of whoever made the socket: criu opens them in /proc. */
  imagesDirFd: { id: 1, kind: "number" },
  pid: { id: 2, kind: "number" },
  leaveRunning: { id: 3, kind: "bool" },
  extUnixSk: { id: 4, kind: "bool" },
  tcpEstablished: { id: 5, kind: "bool" },
  shellJob: { id: 7, kind: "bool" },
  fileLocks: { id: 8, kind: "bool" },
  logLevel: { id: 9, kind: "number" },
  logFile: { id: 10, kind: "text" },
  pageServer: { id: 11, kind: { address: { id: 1, kind: "text" }, port: { id: 2, kind: "number" } } },
  notifyScripts: { id: 12, kind: "bool" },
  root: { id: 13, kind: "text" },
  /** Relative to the directory of the images. */
  parentImage: { id: 14, kind: "text" },
  trackMemory: { id: 15, kind: "bool" },
  autoDedup: { id: 16, kind: "bool" },
  workDirFd: { id: 17, kind: "number" },
  linkRemap: { id: 18, kind: "bool" },
  manageCgroups: { id: 24, kind: "bool" },
  cgroupRoots: {
    id: 25,
    kind: { controller: { id: 1, kind: "text" }, path: { id: 2, kind: "text" } },
    repeated: true,
  },
  /** The restored process is a child of criu's parent. */
  restoreSibling: { id: 26, kind: "bool" },
  /** Here descriptors are criu's own. */
  inheritFds: { id: 27, kind: { key: { id: 1, kind: "text" }, fd: { id: 2, kind: "number" } }, repeated: true },
  manageCgroupsMode: { id: 34, kind: "number" },
  external: { id: 37, kind: "text", repeated: true },
  /** CLONE_NEW* bits. */
  emptyNamespaces: { id: 38, kind: "number" },
  joinNamespaces: { id: 39, kind: { type: { id: 1, kind: "text" }, file: { id: 2, kind: "text" } }, repeated: true },
  freezeCgroup: { id: 44, kind: "text" },
  tcpSkipInFlight: { id: 46, kind: "bool" },
  lazyPages: { id: 48, kind: "bool" },
  statusFd: { id: 49, kind: "number" },
  orphanPtsMaster: { id: 50, kind: "bool" },
  configFile: { id: 51, kind: "text" },
  tcpClose: { id: 52, kind: "bool" },
  lsmProfile: { id: 53, kind: "text" },
  lsmMountContext: { id: 63, kind: "text" },
  networkLock: { id: 64, kind: "number" },
} as const satisfies Shape;

export const REQUEST = {
  type: { id: 1, kind: "number" },
  options: { id: 2, kind: OPTIONS },
  notifySuccess: { id: 3, kind: "bool" },
} as const satisfies Shape;

export const RESPONSE = {
  type: { id: 1, kind: "number" },
  success: { id: 2, kind: "bool" },
  restore: { id: 4, kind: { pid: { id: 1, kind: "number" } } },
  notify: { id: 5, kind: { script: { id: 1, kind: "text" }, pid: { id: 2, kind: "number" } } },
  errno: { id: 7, kind: "number" },
  message: { id: 9, kind: "text" },
} as const satisfies Shape;

export type CriuOptions = Message<typeof OPTIONS>;
export type CriuRequest = Message<typeof REQUEST>;
export type CriuResponse = Message<typeof RESPONSE>;
