/**
 * What a caller of the library may ask for. One interface a function of src/index.ts; the CLI fills them from its flags.
 *
 * Paths may be relative: they are taken from the working directory of the caller, except `bundle`-relative ones that
 * config.json names. A field left out, or undefined, means its default.
 */

import type { CgroupStats } from "../cgroup/stats.ts";
import type { DumpFlags, RestoreFlags } from "../criu/requests.ts";

/** Where state is kept; every function that deals with a container that exists needs it. */
export interface RootOption {
  /** The directory of container states. Default: /run/tsrun, for others than root $XDG_RUNTIME_DIR/tsrun. */
  root?: string | undefined;
}

/** For who starts a container on behalf of a service manager. */
export interface NotifyOption {
  /**
   * The socket of sd_notify(3) where it is told that the container is ready, with its process as the main one: a path,
   * or "@name". Detached `run`, and `start`, return only then, or when it has ended.
   */
  notifySocket?: string | undefined;
}

/** What `plan` needs to know; `create` and `run` take the same and more. */
export interface PlanOptions extends RootOption {
  /** The container's name: [A-Za-z0-9_+.-]+. `run` and `plan` make one up when it is left out. */
  id?: string | undefined;
  /** The bundle directory. */
  bundle: string;
  /** Another file than `<bundle>/config.json`. */
  configFile?: string | undefined;
  /** Layers of the root filesystem, lowest first, instead of annotation org.tsrun.layers: directories or sha256:<chainID>. */
  layers?: readonly string[] | undefined;
  /** Make root.path the only lower layer, so that the container does not change its bundle. */
  overlay?: boolean | undefined;
  /** Name of a read-write layer that outlives the container. */
  rwLayer?: string | undefined;
  /** Of the overlay: index, metacopy, volatile, xino; idmap (ids of all layers mapped) or noidmap. */
  overlayOptions?: readonly string[] | undefined;
  /** What puts layers together: overlay2 (the default), vfs or fuse-overlayfs. */
  driver?: string | undefined;
  /** The most that the container may write to its read-write layer: bytes, or text with a unit such as "10g". */
  storageSize?: number | string | undefined;
  /** Where layers are kept. Default: /var/lib/tsrun, for others than root $XDG_DATA_HOME/tsrun. */
  storageRoot?: string | undefined;
  /** What carries the network of a caller who is not root: pasta or slirp4netns. Default: what config.json says. */
  network?: string | undefined;
  /** Make the container's root with MS_MOVE and chroot(2) instead of pivot_root(2). */
  noPivot?: boolean | undefined;
  /** Stay in the caller's session keyring. */
  noNewKeyring?: boolean | undefined;
  /** How many descriptors from 3 on the process inherits, after those of LISTEN_FDS. */
  preserveFds?: number | undefined;
  /**
   * Who makes the cgroup. systemd: as that of a unit, which linux.cgroupsPath names as "slice:prefix:name". disabled:
   * nobody, the container stays in the caller's, and no limits may be asked. Default: cgroupfs.
   */
  cgroupManager?: "cgroupfs" | "systemd" | "disabled" | undefined;
  /** Forgive a cgroup that cannot be written. "auto": when the caller is not root. */
  rootless?: boolean | "auto" | undefined;
  /** The process outlives this call, and its terminal goes to `consoleSocket`. */
  detach?: boolean | undefined;
  /** Path of an AF_UNIX stream socket that receives the master of the container's terminal. */
  consoleSocket?: string | undefined;
}

/** What `create` is told. */
export interface CreateOptions extends PlanOptions, NotifyOption {
  /** The pid of the container's process is written there: digits only, atomically. */
  pidFile?: string | undefined;
  /** Path of an AF_UNIX stream socket that receives a pidfd of the container's process. */
  pidfdSocket?: string | undefined;
  /** Descriptors that are the process's standard input, output and error. Default: 0, 1 and 2. */
  stdio?: readonly [number, number, number] | undefined;
}

/** What `run` is told. */
export interface RunOptions extends CreateOptions {
  /** Do not become the reaper of the container's orphans while waiting. */
  noSubreaper?: boolean | undefined;
  /** Keep state and cgroup after the process ended, until `delete`. */
  keep?: boolean | undefined;
}

/** Whom a signal is for. */
export interface KillOptions {
  /** Signal every process of the container; a container that is not running is no error then. */
  all?: boolean | undefined;
}

/** What may be deleted. */
export interface DeleteOptions {
  /** Kill it first when it runs; succeed when it does not exist. */
  force?: boolean | undefined;
}

/** Which process is to run in which container. What is left out is as with the container's own process. */
export interface ExecOptions extends RootOption {
  id: string;
  /** A file with an OCI process object. It says all about the process: no `args`, `cwd`, `env`, `user`, … beside it. */
  process?: string | undefined;
  /** The command and its arguments. Required without `process`. */
  args?: readonly string[] | undefined;
  /** Working directory in the container: an absolute path. */
  cwd?: string | undefined;
  /** NAME=value; added to the environment of config.json. */
  env?: readonly string[] | undefined;
  /** true or false as given; undefined: as the process file or, without one, false. */
  tty?: boolean | undefined;
  /** UID[:GID], numbers only. */
  user?: string | undefined;
  /** Groups beside those of the container's user. */
  additionalGids?: readonly number[] | undefined;
  /** Capability names, added to those of the container. */
  caps?: readonly string[] | undefined;
  /** Set no_new_privs: default: as the container. */
  noNewPrivs?: boolean | undefined;
  /** AppArmor profile. */
  apparmor?: string | undefined;
  /** SELinux label. */
  processLabel?: string | undefined;
  /** The process outlives this call, and its terminal goes to `consoleSocket`. */
  detach?: boolean | undefined;
  /** The pid is written there: digits only, atomically. */
  pidFile?: string | undefined;
  /** Path of an AF_UNIX stream socket that receives the master of the terminal. */
  consoleSocket?: string | undefined;
  /** Path of an AF_UNIX stream socket that receives a pidfd of the process. */
  pidfdSocket?: string | undefined;
  /** Descriptors that are the process's standard input, output and error. Default: 0, 1 and 2. */
  stdio?: readonly [number, number, number] | undefined;
  /** How many descriptors from 3 on the process inherits. */
  preserveFds?: number | undefined;
  /** Go ahead though the container is paused; the process starts when it is resumed. */
  ignorePaused?: boolean | undefined;
  /** A cgroup below the container's: `path` or, on v1, `controller[,controller]:path`. Repeatable. */
  cgroup?: readonly string[] | undefined;
}

interface ImageOptions extends RootOption {
  id: string;
  /** The program: a path, or a name that is looked for in PATH. Default: "criu". */
  criu?: string | undefined;
  /** The directory of criu's images. */
  imagePath: string;
  /** Where criu's log is and what it needs while it works. Default: imagePath. */
  workPath?: string | undefined;
}

/** What `checkpoint` is told; the flags are those of criu(8). */
export interface CheckpointOptions extends ImageOptions, DumpFlags {}

/** The bundle's part is that of `create`. */
export interface RestoreOptions extends ImageOptions, RestoreFlags {
  bundle: string;
  configFile?: string | undefined;
  layers?: readonly string[] | undefined;
  overlay?: boolean | undefined;
  rwLayer?: string | undefined;
  overlayOptions?: readonly string[] | undefined;
  driver?: string | undefined;
  storageSize?: PlanOptions["storageSize"];
  storageRoot?: string | undefined;
  cgroupManager?: PlanOptions["cgroupManager"];
  rootless?: boolean | "auto" | undefined;
  detach?: boolean | undefined;
  consoleSocket?: string | undefined;
  pidFile?: string | undefined;
  noSubreaper?: boolean | undefined;
  /** Descriptors that take the place of standard input, output and error where these went outside. Default: 0, 1 and 2. */
  stdio?: readonly [number, number, number] | undefined;
}

/** For whom a config is. */
export interface SpecOptions {
  /** Content for a caller that is not root: its ids mapped to 0 in a user namespace. */
  rootless?: { uid: number; gid: number } | undefined;
}

/** What `run` and `exec` give back. In the CLI a foreground call does not return: the native monitor takes over. */
export interface RunResult {
  id: string;
  /** As the host sees it. */
  pid: number;
  /** Exit code, or 128 + signal; undefined when detached. */
  exitCode?: number | undefined;
}

/** What `exec` gives back. */
export type ExecResult = RunResult;

/** Statuses of the OCI spec, and "paused", as runc has it. */
export type ContainerStatus = "creating" | "created" | "running" | "paused" | "stopped";

/** What `tsrun state` prints: the OCI state and what runc adds to it, in this order. */
export interface ContainerState {
  ociVersion: string;
  id: string;
  /** As the host sees it; 0 when stopped. */
  pid: number;
  status: ContainerStatus;
  bundle: string;
  rootfs: string;
  /** RFC 3339 with nanoseconds, UTC. */
  created: string;
  annotations?: Record<string, string> | undefined;
  /** How it ended, as far as that is known; only of `state`, and only when stopped. */
  exit?: ContainerExit | undefined;
  /** The name of the user who owns the state; "" in `state`, as runc has it. */
  owner: string;
}

/** What is known of the end of a container. A figure that is not known is not there. */
export interface ContainerExit {
  /** The code, or 128 + signal. Of a detached container it is known to its parent, and here until that has asked. */
  exitCode?: number;
  /** The name of the signal that ended it. */
  signal?: string;
  /** Has the signal left a core dump? */
  coreDumped?: boolean;
  /** Has the kernel killed a process of the container, not the first one necessarily, for want of memory? */
  oomKilled?: boolean;
  /** How many. */
  oomKills?: number;
  /** The most memory that was in use at once, in bytes. */
  memoryPeak?: number;
  /** CPU time and throttling in the members of `events`: nanoseconds. */
  cpu?: Pick<CgroupStats["cpu"], "usage" | "throttling">;
}

/** One line of `tsrun list`: the same object, with `owner` filled in. */
export type ContainerSummary = ContainerState;
