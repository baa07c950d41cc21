/**
 * From what a caller asks of `checkpoint` and `restore` to the requests to criu. Touches nothing.
 * What containers need without being asked is what runc and crun ask for; criu(8).
 */
import { CGROUP_MODES, type CriuOptions, type CriuRequest, NETWORK_LOCKS, TYPE } from "./messages.ts";

export type CgroupsMode = keyof typeof CGROUP_MODES;
export type NetworkLock = keyof typeof NETWORK_LOCKS;

/** What both ways have in common. */
export interface CriuFlags {
  /** Keep, and set up again, TCP connections that are established. */
  tcpEstablished?: boolean | undefined;
  /** Allow unix sockets whose other end is outside of the container. */
  extUnixSk?: boolean | undefined;
  /** The container is at the terminal of its caller: it goes on at that of whoever restores it. */
  shellJob?: boolean | undefined;
  fileLocks?: boolean | undefined;
  /** What is done with the cgroups and their limits. Default: soft. */
  manageCgroupsMode?: CgroupsMode | undefined;
  /** Namespaces whose content is not kept; "network" is the only one. */
  emptyNs?: readonly "network"[] | undefined;
  /** Pages that a later image holds too are punched out of the earlier one. */
  autoDedup?: boolean | undefined;
  /** Pages are sent, or fetched, when they are needed. */
  lazyPages?: boolean | undefined;
}

export interface DumpFlags extends CriuFlags {
  leaveRunning?: boolean | undefined;
  /** Memory only, with the container running on: what follows has less to write. */
  preDump?: boolean | undefined;
  /** The images of an earlier pre-dump, relative to those that are made. */
  parentPath?: string | undefined;
  tcpSkipInFlight?: boolean | undefined;
  linkRemap?: boolean | undefined;
  /**
   * What keeps the network of the container still meanwhile. An image holds it, and a restore goes by that. Default:
   * criu's, iptables. skip: nothing, for containers without connections; criu 3.18 or newer.
   */
  networkLock?: NetworkLock | undefined;
  /** Where the pages go, in place of files. */
  pageServer?: { address: string; port: number } | undefined;
  /** A descriptor that one byte is written to when lazy pages can be fetched. */
  statusFd?: number | undefined;
}

export interface RestoreFlags extends CriuFlags {
  /** Close connections that were established when the images were made. */
  tcpClose?: boolean | undefined;
  /** Another profile of the LSM than it had: "type:name". */
  lsmProfile?: string | undefined;
  /** Another SELinux context for its mounts. */
  lsmMountContext?: string | undefined;
}

/** Directories as descriptors of this process. */
export interface Places {
  imagesDirFd: number;
  /** Where the log is, and files that criu needs while it works. */
  workDirFd: number;
  /** A file of options for criu (annotation org.criu.config). */
  configFile?: string | undefined;
}

export interface DumpFacts extends Places {
  pid: number;
  external: string[];
  /** The cgroup by which all of the container can be stopped. */
  freezeCgroup?: string | undefined;
}

export interface RestoreFacts extends Places {
  root: string;
  external: string[];
  inheritFds: { key: string; fd: number }[];
  joinNamespaces: { type: string; file: string }[];
  /** For every controller, or for all that have no place of their own here. */
  cgroupRoots: { controller?: string; path: string }[];
}

const CLONE_NEWNET = 0x40000000;
const LOG_LEVEL = 4;
export const DUMP_LOG = "dump.log";
export const RESTORE_LOG = "restore.log";

export function dumpRequest(flags: DumpFlags, { pid, external, freezeCgroup, ...places }: DumpFacts): CriuRequest {
  const { preDump, leaveRunning, parentPath, tcpSkipInFlight, linkRemap, pageServer, statusFd, networkLock } = flags;
  return {
    type: preDump ? TYPE.PRE_DUMP : TYPE.DUMP,
    options: {
      ...commonOptions(flags, places),
      logFile: DUMP_LOG,
      pid,
      leaveRunning: leaveRunning || preDump || undefined,
      tcpSkipInFlight,
      linkRemap,
      networkLock: networkLock && NETWORK_LOCKS[networkLock],
      pageServer,
      statusFd,
      parentImage: parentPath,
      trackMemory: preDump || parentPath !== undefined || undefined,
      freezeCgroup,
      external,
    },
  };
}

export function restoreRequest(flags: RestoreFlags, facts: RestoreFacts): CriuRequest {
  const { root, external, inheritFds, joinNamespaces, cgroupRoots, ...places } = facts;
  const { tcpClose, lsmProfile, lsmMountContext } = flags;
  return {
    type: TYPE.RESTORE,
    options: {
      ...commonOptions(flags, places),
      logFile: RESTORE_LOG,
      root,
      restoreSibling: true,
      tcpClose,
      lsmProfile,
      lsmMountContext,
      external,
      inheritFds,
      joinNamespaces,
      cgroupRoots,
    },
  };
}

function commonOptions(flags: CriuFlags, { imagesDirFd, workDirFd, configFile }: Places): CriuOptions {
  const { tcpEstablished, extUnixSk, shellJob, fileLocks, emptyNs, autoDedup, lazyPages } = flags;
  return {
    imagesDirFd,
    workDirFd,
    configFile,
    logLevel: LOG_LEVEL,
    notifyScripts: true,
    manageCgroups: true,
    manageCgroupsMode: CGROUP_MODES[flags.manageCgroupsMode ?? "soft"],
    // The masters of a container's terminals are outside: ours at first, then the engine's.
    orphanPtsMaster: true,
    tcpEstablished,
    extUnixSk,
    shellJob,
    fileLocks,
    autoDedup,
    lazyPages,
    emptyNamespaces: emptyNs?.includes("network") ? CLONE_NEWNET : undefined,
  };
}
