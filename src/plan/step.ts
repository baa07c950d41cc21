/**
 * The operations of the native init, and the plan made of them.
 *
 * This table is the single source of the wire format: native/protocol.h is generated from it
 * and a test compares the two. Each op is one deed that the kernel or the OCI spec has a name
 * for; what to do, and in which order, is decided in the other files of plan/.
 *
 * Argument kinds:
 *   n  a number: an int64 in decimal (flags, ids, descriptors; -1 is "none" for a descriptor)
 *   u  a number up to 2^64-1 in decimal, given as bigint or number (rlimits)
 *   s  a string without NUL
 *   l  a list of strings
 *   b  raw bytes
 *
 * Descriptors are plain numbers that the plan chooses: an op that opens something leaves it at
 * the number it was told, close-on-exec.
 */
export const OPS = {
  // --- descriptors ---
  /** open(2) of a path in the current mount namespace: `fd path flags mode`. */
  open: "nsnn",
  /** openat2(2) confined to `root` (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve): `fd root path flags resolve`. */
  openIn: "nnsnn",
  /** close(2): `fd`. */
  close: "n",
  /** write(2) of the whole text in one call: `fd text`. */
  write: "ns",
  // --- namespaces and ids ---
  /** setns(2): `fd flags`; `fd` is a namespace or, with several flags, a pidfd. */
  setns: "nn",
  /** unshare(2): `flags`. */
  unshare: "n",
  /**
   * clone3(2) with `flags` | CLONE_PARENT, into cgroup descriptor `cgroup` unless it is -1:
   * `flags cgroup`. The parent sends PID and exits 0; the child goes on with the next step then.
   */
  clone: "nn",
  /** setgroups(2) to none, then setresgid(2), setresuid(2): `uid gid setgroups(0|1)`; to become root of a user namespace. */
  become: "nnn",
  /** prctl(PR_SET_DUMPABLE): `value`. */
  dumpable: "n",
  // --- mounts: everything by descriptor ---
  /** fsopen(2), fsconfig(2) for each "key=value" or "key", fsmount(2) with MOUNT_ATTR_* `attrs`: `fd type attrs options`. */
  fsmount: "nsnl",
  /** As fsmount, with an option "mode=" that repeats the permission bits of descriptor `like`: `fd type attrs options like`. */
  fsmountLike: "nsnln",
  /** open_tree(2) with OPEN_TREE_CLONE | `flags` (AT_RECURSIVE, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW): `fd dirfd path flags`; dirfd -1 is AT_FDCWD. */
  openTree: "nnsn",
  /** mount_setattr(2) on `dirfd path`: `dirfd path flags set clear propagation usernsfd(-1)`. */
  mountSetattr: "nsnnnnn",
  /**
   * Opens (O_PATH) a place inside `root`, making it and its parents (0755) when missing:
   * `fd root path kind mode flags`. kind: 0 must exist, 1 directory, 2 empty file, 3 like the
   * object at descriptor `mode` (a directory for a directory, else a file).
   * flags: 1 refuse symlinks anywhere (RESOLVE_NO_SYMLINKS), 2 refuse a symlink as the last component,
   * 4 open such a symlink itself.
   */
  target: "nnsnnn",
  /** move_mount(2) of the detached tree `fd` onto descriptor `target`: `fd target`. */
  attach: "nn",
  /** Copies what is in directory `from` into directory `to`, with modes and owners, crossing no mount: `from to`. */
  copyTree: "nn",
  /** Removes a tree on the host, following no link and crossing no mount; a missing one is fine: `path`. */
  removeTree: "s",
  /** mount(2): `source target type flags data`; for options that fsconfig(2) cannot carry (over 255 bytes). */
  mount: "sssns",
  /** fchdir(2): `fd`. */
  fchdir: "n",
  /** mkdirat-confined mknod(2) inside `root`, with parents: `root path mode(with S_IF*) rdev uid gid`; an equal node is kept, another is replaced. */
  mknod: "nsnnnn",
  /** symlinkat(2) inside `root`, with parents: `root target path exact(0|1)`; an existing entry is kept, exact: only such a link is. */
  symlink: "nssn",
  /** Masks a path (a missing one needs no mask): `root path nullfd tmpfsfd`; file: the null device on a read-only mount, directory: one read-only tmpfs. */
  mask: "nsnn",
  /** Makes a path read-only, recursively (a missing one is fine): `root path`. */
  readonly: "ns",
  /** Checks that descriptor is a node of this type (S_IF*) and number: `fd type rdev`. */
  checkDevice: "nnn",
  /**
   * Checks that descriptor `fd` is in a file system of this type (statfs(2) magic) and, unless `root` is -1, that it is
   * the mount that `path` in `root` leads to, over no symlink: `fd magic root path`.
   */
  checkMount: "nnns",
  /** pivot_root(2) into descriptor `root`, detaching the old root: `root`. */
  pivot: "n",
  /** umount2(2) with MNT_DETACH of a path in the current mount namespace: `path`. */
  detach: "s",
  /** umount2(2) with MNT_DETACH of what is mounted at a path inside `root`, on the last component itself or where it points: `root path`. */
  unmount: "ns",
  /** --no-pivot: moves `root` over /, chroot(2): `root`. */
  moveRoot: "n",
  /** chroot(2), for a container in the mount namespace of the runtime, whose root is nobody's to move: `root`. */
  chroot: "n",
  // --- terminal ---
  /** A pty from `root`/dev/pts/ptmx (devpts, no symlinks); master goes to the runtime as FD message, slave stays at `fd`: `fd root`. */
  pty: "nn",
  /** Binds the pty slave `fd` on `root`/dev/console: `fd root`. */
  console: "nn",
  /** TIOCSWINSZ: `fd rows columns`. */
  winsize: "nnn",
  /** Makes `fd` the controlling terminal and descriptors 0 to 2: `fd`. */
  controllingTerminal: "n",
  /** fchown(2): `fd uid gid` (-1 leaves one as it is). */
  fchown: "nnn",
  // --- the process ---
  setsid: "",
  /** keyctl(KEYCTL_JOIN_SESSION_KEYRING): `name`. ENOSYS is fine. */
  keyring: "s",
  sethostname: "s",
  setdomainname: "s",
  /** Brings lo up in the current network namespace. */
  loopback: "",
  /** setrlimit(2): `resource soft hard`. */
  rlimit: "nuu",
  umask: "n",
  /** sched_setaffinity(2): `mask` (bits of CPUs, little-endian). */
  affinity: "b",
  /** sched_setattr(2): `struct sched_attr`. */
  schedAttr: "b",
  /** ioprio_set(2) of this process: `value`. */
  ioPriority: "n",
  /** set_mempolicy(2): `mode nodes` (bits of nodes). */
  memoryPolicy: "nb",
  /** personality(2): `domain`. */
  personality: "n",
  noNewPrivs: "",
  /** Drops from the bounding set every capability that is not in mask `keep`: `keep`. */
  boundingSet: "u",
  /** setgroups(2), setresgid(2), setresuid(2), keeping capabilities: `uid gid setgroups(0|1) groups`. */
  user: "nnnl",
  /** capset(2), then the ambient set: `effective permitted inheritable ambient` as masks. */
  capabilities: "uuuu",
  /** seccomp(2) SECCOMP_SET_MODE_FILTER: `flags program` (struct sock_filter[]). */
  seccomp: "nb",
  /** Gives descriptors 0 to 2 to a user, but for the null device and for what is not ours to give: `uid`. */
  stdio: "n",
  /** chdir(2), then getcwd(2), which must not say "(unreachable)": `path`. */
  chdir: "s",
  /** As chdir, and then chdir has nothing left to do; where we may not enter (EACCES, EPERM) it is left to that: `path`. */
  enter: "s",
  /** The first candidate that is an executable file becomes what `exec` runs: `candidates`. EACCES beats ENOENT. */
  findExecutable: "l",
  /** PR_SET_PDEATHSIG: `signal`. */
  parentDeathSignal: "n",
  /** Until `exec` each of these signals ends the process with 128 and its number, the first of a pid namespace too: `mask` (sigset_t). */
  endOnSignals: "u",
  // --- talking to the runtime ---
  /** Sends AWAIT with `tag` and waits for one byte: `tag`. */
  await: "n",
  /** As await; the answer brings a descriptor, which becomes `fd`: `tag fd`. */
  receive: "nn",
  /** Waits at the listening socket `fd` for `start`; that connection takes the place of the sync socket: `fd`. */
  awaitStart: "n",
  /** close_range(2) with CLOSE_RANGE_CLOEXEC: every descriptor from `first` on is closed by the exec. */
  cloexecFrom: "n",
  /** execve(2) of what findExecutable found: `argv envp`. */
  exec: "ll",
} as const;

export type OpName = keyof typeof OPS;
export type StepArg = number | bigint | string | readonly string[] | Uint8Array;

/** One step of a plan. `about` names the part of config.json that asked for it, for errors and `tsrun plan`. */
export interface Step {
  readonly op: OpName;
  readonly args: readonly StepArg[];
  readonly about: string;
}

/** What a descriptor that the init inherits is, by name; the runtime opens it, the plan chose its number. */
export interface InheritedFd {
  readonly name: string;
  readonly fd: number;
}

/** Complete and self-contained: the same spec, options and host facts give the same plan. */
export interface Plan {
  readonly steps: readonly Step[];
  readonly inherit: readonly InheritedFd[];
}

/** Messages from the init: 16 bytes, four int32 `{type, step, value, 0}` on a SOCK_SEQPACKET socket. EOF: exec worked. */
export const MESSAGE = {
  /** value: pid of the container process as the host sees it. */
  PID: 1,
  /** value: tag; the init waits for one byte, or ends at EOF. */
  AWAIT: 2,
  /** step failed with errno `value`; the init ends. */
  FAIL: 3,
  /** carries one descriptor (SCM_RIGHTS): the pty master, or the listener of a seccomp filter. */
  FD: 4,
} as const;

/** Tags of `await`. */
export const AWAIT = {
  /** The user namespace exists: write uid_map and gid_map. */
  ID_MAPS: 1,
  /** Everything is set up, the executable was found: write state and pid file. */
  READY: 2,
  /** The mounts are there and the root is not changed yet: prestart, createRuntime, createContainer. */
  CREATE_HOOKS: 3,
  /** The container is started, and its process is about to be executed: startContainer. */
  START_HOOKS: 4,
  /** The network namespace is there: move devices into it. */
  NET_DEVICES: 5,
  /** The seccomp listener was sent: hand it over before the process makes a call that needs it. */
  LISTENER: 6,
  /** The first process is there, and its cgroup is to be made around it. */
  CGROUP: 7,
  /** A mount is due whose source the runtime opens. */
  SOURCE: 8,
} as const;
