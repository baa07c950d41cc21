/**
 * Flags as data. The parser, the help and the types of a verb's values all come from one table of these.
 * Names and meanings are those of runc, and of crun where runc has none.
 */

export interface Flag {
  /** Long name without dashes. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  readonly kind: "bool" | "string" | "number" | "list";
  /** The only values it takes. */
  readonly values?: readonly string[];
  /** An empty value is taken too, for "not given". */
  readonly mayBeEmpty?: boolean;
  /** What the help calls the value. */
  readonly argument?: string;
  readonly help: string;
  /** Set on a flag that this release refuses when it is given a value: why, as the end of a sentence. */
  readonly refused?: string;
}

type ValueOf<F extends Flag> = F["kind"] extends "bool"
  ? boolean
  : F["kind"] extends "number"
    ? number
    : F["kind"] extends "list"
      ? string[]
      : string;

/** What was given for the flags of a table, by long name. A flag that was not given is not there. */
export type Values<T extends readonly Flag[]> = { [F in T[number] as F["name"]]?: ValueOf<F> };

/** The same without knowledge of a table: what the parser fills. */
export type AnyValues = Record<string, boolean | number | string | string[]>;

export interface Call<T extends readonly Flag[]> {
  values: Values<T>;
  args: string[];
  globals: Globals;
}

/** The global flags, checked and with their defaults. */
export interface Globals {
  root: string;
  /** Who makes the cgroup of a new container; the others find what was made in the state. */
  cgroupManager: "cgroupfs" | "systemd" | "disabled";
  rootless: boolean | "auto";
  /** The program for checkpoint and restore. */
  criu: string | undefined;
}

export interface Verb<T extends readonly Flag[] = readonly Flag[]> {
  readonly name: string;
  readonly summary: string;
  /** What follows the flags in the usage line. */
  readonly usage: string;
  readonly flags: T;
  /** How many positional arguments there may be. */
  readonly min: number;
  readonly max: number;
  /** The only values of the first argument. */
  readonly words?: readonly string[];
  /** Whatever follows the container id belongs to the command, flags too. */
  readonly stopAtId?: boolean;
  /** Exit code of an error of our own; 1 when left out. */
  readonly errorCode?: number;
  /** More of the help, printed below the options. */
  readonly notes?: string;
  /** Does it; returns the exit code. */
  run(call: Call<T>): number | Promise<number>;
}

/** Ties the type of `values` to the flags of a verb. */
export function defineVerb<const T extends readonly Flag[]>(verb: Verb<T>): Verb {
  return verb as unknown as Verb;
}

/** Of everything that has to do with layers and images. */
export const STORE_FLAG = {
  name: "store",
  kind: "string",
  argument: "dir",
  help: "where the store is (default: /var/lib/tsrun, for others than root ~/.local/share/tsrun)",
} as const satisfies Flag;

/** Flags of `create`, `run`, `plan` and `restore`: the bundle, and what its root filesystem is made of. */
export const BUNDLE_FLAGS = [
  {
    name: "bundle",
    short: "b",
    kind: "string",
    argument: "dir",
    help: "the bundle directory (default: the current one)",
  },
  { name: "config", short: "f", kind: "string", argument: "file", help: "another file than <bundle>/config.json" },
  {
    name: "layer",
    kind: "list",
    argument: "dir",
    help: "a layer of the root filesystem, lowest first; instead of annotation org.tsrun.layers (repeatable)",
  },
  { name: "overlay", kind: "bool", help: "make root.path the only lower layer, so that the bundle stays unchanged" },
  {
    name: "overlay-option",
    kind: "list",
    argument: "word",
    help: "index, metacopy, volatile, xino; idmap or noidmap: map the ids of all layers, of none (repeatable)",
  },
  {
    name: "driver",
    kind: "string",
    values: ["overlay2", "vfs", "fuse-overlayfs"],
    argument: "name",
    help: "what puts layers together: overlay2 (the kernel's overlayfs), vfs (a copy) or fuse-overlayfs",
  },
  { name: "rw-layer", kind: "string", argument: "name", help: "a read-write layer that outlives the container" },
  {
    name: "storage-size",
    kind: "string",
    argument: "size",
    help: "the most that may be written to the read-write layer, as 512m or 10g: needs a store with project quotas",
  },
  STORE_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `create`, `run` and `plan`: which container, and how it is set up. */
export const CONTAINER_FLAGS = [
  ...BUNDLE_FLAGS,
  {
    name: "network",
    kind: "string",
    values: ["pasta", "slirp4netns"],
    argument: "program",
    help: "for others than root: a network of the container's own that this program carries",
  },
  { name: "no-pivot", kind: "bool", help: "move the root with MS_MOVE and chroot(2) instead of pivot_root(2)" },
  { name: "no-new-keyring", kind: "bool", help: "stay in the caller's session keyring" },
  {
    name: "preserve-fds",
    kind: "number",
    argument: "n",
    help: "pass n more descriptors to the process (stdio + $LISTEN_FDS + n in total)",
  },
  {
    name: "console-socket",
    kind: "string",
    argument: "path",
    help: "an AF_UNIX socket that receives the master of the terminal",
  },
] as const satisfies readonly Flag[];

/** Further flags of `create` and `run`. */
export const CREATE_FLAGS = [
  { name: "pid-file", kind: "string", argument: "path", help: "write the pid of the process there" },
  {
    name: "pidfd-socket",
    kind: "string",
    argument: "path",
    help: "an AF_UNIX socket that receives a pidfd of the process",
  },
  { name: "no-subreaper", kind: "bool", help: "do not reap the orphans of the container while waiting (run)" },
] as const satisfies readonly Flag[];

/** Of `checkpoint`, and of `restore`, where crun has it too. */
export const NETWORK_LOCK_FLAG = {
  name: "network-lock",
  kind: "string",
  values: ["iptables", "nftables", "skip"],
  argument: "method",
  help: "what keeps connections still meanwhile: iptables (criu's default), nftables or skip; it goes with the files",
} as const satisfies Flag;

/** Flags of `checkpoint` and `restore`, which tell criu the same on both ways. */
export const CRIU_FLAGS = [
  {
    name: "image-path",
    kind: "string",
    argument: "dir",
    help: "where the files of the checkpoint are (default: checkpoint, in the current directory)",
  },
  { name: "work-path", kind: "string", argument: "dir", help: "where criu's log goes (default: beside the files)" },
  { name: "tcp-established", kind: "bool", help: "keep TCP connections that are established" },
  { name: "ext-unix-sk", kind: "bool", help: "allow unix sockets that are connected to the outside" },
  { name: "shell-job", kind: "bool", help: "the container is at the terminal of its caller" },
  { name: "file-locks", kind: "bool", help: "keep file locks" },
  {
    name: "manage-cgroups-mode",
    kind: "string",
    values: ["soft", "full", "strict", "ignore"],
    argument: "mode",
    help: "what becomes of cgroups and their limits: soft (the default), full, strict or ignore",
  },
  {
    name: "empty-ns",
    kind: "list",
    values: ["network"],
    argument: "type",
    help: "a namespace whose content is not kept: network",
  },
  { name: "auto-dedup", kind: "bool", help: "take pages that a later image has out of the earlier one" },
  { name: "lazy-pages", kind: "bool", help: "send pages of memory only when they are needed" },
] as const satisfies readonly Flag[];
