/** posix_spawn(3): starts a program with descriptors at chosen numbers, without the threads of the engine. */
import { cString, failure } from "./call.ts";
import { libcName, load } from "./ffi.ts";
import { cloexecStdio, closeQuiet, dup } from "./file.ts";
import { vector } from "./process.ts";
import { viewOf } from "./structs.ts";

export interface SpawnRequest {
  /** A path, or the number of a descriptor to run (a memfd; a script cannot be run from one that is close-on-exec). */
  path: string | number;
  argv: readonly string[];
  envp: readonly string[];
  /** Which descriptor the program has at which number. Descriptors 0 to 2 are inherited unless named here. */
  fds?: readonly { from: number; to: number }[];
  /** Working directory of the program. */
  cwd?: string;
  /** A session of its own. */
  setsid?: boolean;
}

let spawnFunctions: ReturnType<typeof loadSpawn> | undefined;

function loadSpawn() {
  return load(libcName(), {
    posix_spawn: { args: ["long", "long", "long", "long", "long", "long"], returns: "int" },
    posix_spawn_file_actions_adddup2: { args: ["long", "int", "int"], returns: "int" },
    posix_spawn_file_actions_destroy: { args: ["long"], returns: "int" },
  });
}

/** Only hooks change directory. */
function addChdir(actions: Uint8Array, path: string): number {
  const library = load(libcName(), {
    posix_spawn_file_actions_addchdir_np: { args: ["long", "long"], returns: "int" },
  });
  return library.posix_spawn_file_actions_addchdir_np(actions, cString(path, "posix_spawn"));
}

// posix_spawnattr_t and posix_spawn_file_actions_t of glibc and of musl: all zero is what their init functions make,
// and attr begins with the flags, the process group and the two signal sets on both.
const ATTR_BYTES = 336;
const ATTR_DEFAULT_SIGNALS = 8;
const SIGSET_BYTES = 128;
const ACTIONS_BYTES = 80;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

/**
 * Starts a program; it begins with an empty signal mask and default dispositions (an engine ignores SIGPIPE).
 * A descriptor named in `fds` loses close-on-exec in the program, and only there.
 *
 * @returns its pid
 */
export function posixSpawn({ path, argv, envp, fds = [], cwd, setsid = false }: SpawnRequest): number {
  spawnFunctions ??= loadSpawn();
  const library = spawnFunctions;
  const file = typeof path === "number" ? path : fdOfPath(path);
  const targets = new Set(fds.map(({ to }) => to));
  const above = Math.max(...targets, 2) + 1;
  const duplicates: number[] = [];
  const actions = new Uint8Array(ACTIONS_BYTES);
  /** A descriptor that an earlier action would replace is first copied above all targets. */
  const safe = (fd: number) => {
    const copy = dup(fd, above);
    duplicates.push(copy);
    return copy;
  };
  try {
    for (const { from, to } of fds) {
      const source = from !== to && targets.has(from) ? safe(from) : from;
      addAction(library.posix_spawn_file_actions_adddup2(actions, source, to), `fd ${to}`);
    }
    for (const fd of cloexecStdio()) {
      if (!targets.has(fd)) addAction(library.posix_spawn_file_actions_adddup2(actions, fd, fd), `fd ${fd}`);
    }
    if (cwd !== undefined) addAction(addChdir(actions, cwd), cwd);
    let program = path;
    if (file !== undefined) program = `/proc/self/fd/${targets.has(file) ? safe(file) : file}`;
    const pid = new Uint8Array(4);
    const error = library.posix_spawn(
      pid,
      cString(program as string, "posix_spawn"),
      actions,
      attributes(setsid),
      vector(argv, "posix_spawn"),
      vector(envp, "posix_spawn"),
    );
    if (error !== 0) throw failure("posix_spawn", error, typeof path === "string" ? path : argv[0]);
    return viewOf(pid).getInt32(0, true);
  } finally {
    library.posix_spawn_file_actions_destroy(actions);
    for (const fd of duplicates) closeQuiet(fd);
  }
}

function attributes(setsid: boolean): Uint8Array {
  const attr = new Uint8Array(ATTR_BYTES);
  const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (setsid ? POSIX_SPAWN_SETSID : 0);
  viewOf(attr).setInt16(0, flags, true);
  attr.fill(0xff, ATTR_DEFAULT_SIGNALS, ATTR_DEFAULT_SIGNALS + SIGSET_BYTES);
  return attr;
}

function addAction(error: number, path: string): void {
  if (error !== 0) throw failure("posix_spawn_file_actions", error, path);
}

/** The number in "/proc/self/fd/N". */
function fdOfPath(path: string): number | undefined {
  const prefix = "/proc/self/fd/";
  if (!path.startsWith(prefix)) return undefined;
  const fd = Number(path.slice(prefix.length));
  return Number.isSafeInteger(fd) ? fd : undefined;
}
