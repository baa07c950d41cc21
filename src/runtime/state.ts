/**
 * What is kept of a container between two calls: <root>/<id>/state.json, and config.json as it was read.
 *
 * state.json appears by rename and so is whole or absent (invariant 6). It names all that create makes before it is
 * made, so that delete finds everything from it alone (invariant 7).
 */

import type { CgroupRecord } from "../cgroup/manager.ts";
import { isErrno, StateError, TsrunError } from "../errors.ts";
import { checkId } from "../spec/id.ts";
import { loadSpec } from "../spec/load.ts";
import type { Hooks, LinuxIDMapping, Spec } from "../spec/types.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { O_NONBLOCK, O_PATH, O_RDONLY, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from "../sys/constants.ts";
import { closeQuiet, Fd, flockDir, open, openat2, readText } from "../sys/file.ts";
import { fstatSync, mkdirSync, renameSync, rmdirSync, type Stats, statSync, writeFileSync } from "../sys/fs.ts";
import { waitUntil } from "../sys/wait.ts";
import type { RdtRecord } from "./intel-rdt.ts";
import type { ContainerStatus } from "./options.ts";
import type { ProgramRecord } from "./program-record.ts";

/** Format of state.json; a reader refuses what is newer than itself. */
const STATE_VERSION = 1;

/** Longer than any caller needs who is not stuck: `delete` waits 10 s for a process to die. */
const LOCK_TIMEOUT_MS = 20_000;

/** A point of the life cycle at which hooks may run. */
export type HookStage = keyof Hooks;

export interface StateRecord {
  version: number;
  ociVersion: string;
  id: string;
  bundle: string;
  rootfs: string;
  created: string;
  /** uid of whoever made it. */
  owner: number;
  annotations: Record<string, string>;
  /** How far the making of it got; what it is now is for lifecycle.ts to say. */
  phase: "creating" | "created" | "running";
  /** The container's process as the host sees it; 0 before there is one. */
  pid: number;
  /** Its start in clock ticks since boot (proc_pid_stat(5)), which tells it from a later process of the same pid. */
  startTime: number;
  cgroup: CgroupRecord | undefined;
  /** Groups of resctrl; not there when it is in none of its own. */
  intelRdt?: RdtRecord;
  /** The overlay, when tsrun made the root file system. */
  overlay: RootfsRecord | undefined;
  /** Where its layers are kept, when that was asked for; until there is an overlay, what was made is found by it. */
  storageRoot?: string;
  /** CLONE_NEW* bits of the namespaces that are not the host's: what exec joins. */
  namespaces: number;
  /** Does it have a pid namespace of its own, so that its end ends all of it? */
  ownPidNamespace: boolean;
  /** Has it a user namespace that is not the host's? */
  userns: boolean;
  /** Where its root is mounted, when it has no mount namespace. */
  rootPlace?: string;
  /** May setgroups(2) be called in its user namespace? */
  setgroups: boolean;
  /** Who set it up in its user namespace; root otherwise. */
  setupIds: { uid: number; gid: number };
  /** The ids of its namespace, where files of its read-write layer may belong to others than the caller. */
  idMaps?: { uids: readonly LinuxIDMapping[]; gids: readonly LinuxIDMapping[] };
  /** The program that carries its network. */
  network?: ProgramRecord;
  /** The program that is its root filesystem. */
  fuse?: ProgramRecord;
  /** Do its processes stay in the session keyring of whoever starts them? */
  noNewKeyring: boolean;
  /** The stages that its config has hooks for; not there when it has none. */
  hooks?: readonly HookStage[];
  /** The steps of the plan that come after `start`, to tell what failed there. */
  lateSteps: { index: number; op: string; about: string }[];
}

/** The directory of one container's state, below the root of all. */
export class StateDirectory {
  readonly root: string;
  readonly id: string;
  readonly path: string;

  /** @throws StateError when the id is no name */
  constructor(root: string, id: string) {
    checkId(id);
    this.root = root;
    this.id = id;
    this.path = `${root}/${id}`;
  }

  /** Makes it, locked: it belongs to this caller alone. @throws StateError when the id is taken */
  create(): Fd {
    try {
      mkdirSync(this.root, { recursive: true, mode: 0o711 });
    } catch (error) {
      throw withRootFix(error);
    }
    try {
      mkdirSync(this.path, { mode: 0o700 });
    } catch (error) {
      if (isErrno(error, "EEXIST")) {
        throw new StateError("container with given ID already exists", {
          fix: `choose another id, or remove it with: tsrun delete ${this.id}`,
        });
      }
      throw withRootFix(error);
    }
    try {
      return this.lock();
    } catch (error) {
      // A `delete --force` was quicker than our lock.
      if (error instanceof MissingError) return this.create();
      rmdirSync(this.path);
      throw error;
    }
  }

  /**
   * Keeps other callers out until the lock is released, or its holder ends.
   *
   * @throws StateError when there is no such container, and when another caller does not let go of it
   */
  lock(): Fd {
    const lock = this.lockWithin(LOCK_TIMEOUT_MS);
    if (lock !== undefined) return lock;
    throw new StateError(`container ${this.id} is in the hands of another tsrun`, {
      fix: `it has not finished for ${LOCK_TIMEOUT_MS / 1000} s: fuser ${this.path} says which one it is`,
    });
  }

  /** The same for who can do without: undefined when the time is over. @throws StateError when there is no such container */
  lockWithin(timeoutMs: number): Fd | undefined {
    let lock: Fd | undefined;
    waitUntil(() => {
      lock = this.#tryLock();
      return lock !== undefined;
    }, timeoutMs);
    return lock;
  }

  /** @returns undefined when somebody else has it, or had */
  #tryLock(): Fd | undefined {
    try {
      const lock = flockDir(this.path, { nonBlock: true });
      // Whoever had it may have removed the directory: the name is free then, or that of a new container.
      if (isSameFile(fstatSync(lock.fd), statSync(this.path))) return lock;
      lock[Symbol.dispose]();
      return undefined;
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return undefined;
      if (isErrno(error, "ENOENT")) throw missing(this.id);
      if (isErrno(error, "ENOTDIR", "ELOOP")) throw this.#isNoDirectory(error);
      throw error;
    }
  }

  #isNoDirectory(cause: unknown): StateError {
    return new StateError(`the state of container ${this.id} is no directory, or a symbolic link: ${this.path}`, {
      cause,
    });
  }

  write(record: StateRecord): void {
    // On the disk before it has its name, or a power failure could leave that of an empty file.
    writeFileSync(`${this.path}/state.json.new`, JSON.stringify(record), { mode: 0o600, sync: true });
    renameSync(`${this.path}/state.json.new`, `${this.path}/state.json`);
  }

  /** @throws StateError when there is no such container */
  read(): StateRecord {
    let text: string;
    try {
      text = this.#readBelow();
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) throw missing(this.id);
      if (isErrno(error, "ELOOP", "EXDEV")) throw this.#isNoDirectory(error);
      // A directory, or a socket.
      if (!isErrno(error, "EISDIR", "ENXIO")) throw error;
      text = "";
    }
    const record = parse(text);
    if (record !== undefined && record.version > STATE_VERSION) {
      throw new ForeignError(`state of container ${this.id} was written by a newer tsrun`, { fix: "use that one" });
    }
    if (record !== undefined && isForeign(record)) {
      throw new ForeignError(`state of container ${this.id} is that of another runtime: ${this.path}`, {
        fix: "use that one, or another directory of states: tsrun --root DIR",
      });
    }
    if (record === undefined || !isRecord(record) || record.id !== this.id) {
      throw new DamagedError(`state of container ${this.id} cannot be read: ${this.path}/state.json is damaged`, {
        fix: `tsrun delete --force ${this.id} removes what is found without it`,
      });
    }
    return record;
  }

  /** The root of all states may be reached through links; a container's own directory and file are none. */
  #readBelow(): string {
    using root = new Fd(open(this.root, O_PATH));
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    // Of a fifo that somebody has put there O_NONBLOCK reads nothing, instead of waiting for a writer.
    const fd = openat2(root.fd, `${this.id}/state.json`, { flags: O_RDONLY | O_NONBLOCK, resolve });
    try {
      return readText(fd, `${this.path}/state.json`);
    } finally {
      closeQuiet(fd);
    }
  }

  /** config.json as it was when the container was made. */
  writeConfig(text: string): void {
    writeFileSync(this.configFile, text, { mode: 0o600 });
  }

  /**
   * The config of a container that exists, changed. For who holds the lock: `exec` reads it without, and whoever is
   * killed half-way must leave the old one.
   */
  replaceConfig(text: string): void {
    // The temporary name is that of the other file, which delete knows already.
    writeFileSync(`${this.path}/state.json.new`, text, { mode: 0o600, sync: true });
    renameSync(`${this.path}/state.json.new`, `${this.path}/config.json`);
  }

  /** What is written there for a moment is known to delete, and to nobody else while the lock is held. */
  get temporaryFile(): string {
    return `${this.path}/state.json.new`;
  }

  get configFile(): string {
    return `${this.path}/config.json`;
  }

  /** How it ended: see post-mortem.ts. */
  get exitFile(): string {
    return `${this.path}/exit`;
  }

  get startSocket(): string {
    return `${this.path}/start.sock`;
  }
}

/** Not the caller's to write: an ordinary user without a directory of his own is given that of root; or none at all. */
function withRootFix(error: unknown): unknown {
  if (!isErrno(error, "EACCES", "EROFS", "ENOENT", "ENOTDIR", "EPERM")) return error;
  return new TsrunError("no place for the states of containers", {
    cause: error,
    fix: "set XDG_RUNTIME_DIR, or name a directory of your own: tsrun --root DIR",
  });
}

/** There is no such container. */
export class MissingError extends StateError {}

/** Its state is there, and says nothing. */
export class DamagedError extends StateError {}

/** Its state is there, and not for this program to understand. */
export class ForeignError extends StateError {}

/** Containerd and others look for "does not exist". */
function missing(id: string): MissingError {
  return new MissingError(`container ${id} does not exist`);
}

function isSameFile(a: Stats, b: Stats | undefined): boolean {
  return b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

function parse(text: string): StateRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as StateRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** As runc has it, and youki. */
function isForeign(record: object): boolean {
  return !("version" in record) && ("init_process_pid" in record || ("status" in record && "pid" in record));
}

/** Has it what every use of it relies on? Only root, or the owner, can have written something else. */
function isRecord(record: StateRecord): boolean {
  const { version, pid, startTime, namespaces, owner, id, bundle, rootfs, created } = record;
  // Loops: a method of arrays that is written in JavaScript, as every() is, costs 0.04 ms at its first use.
  for (const number of [version, pid, startTime, namespaces, owner]) if (!Number.isSafeInteger(number)) return false;
  for (const text of [id, bundle, rootfs, created]) if (typeof text !== "string") return false;
  return (
    pid >= 0 &&
    ["creating", "created", "running"].includes(record.phase) &&
    typeof record.annotations === "object" &&
    record.annotations !== null
  );
}

/** The state of the spec, as hooks and others are given it. Rules: OCI runtime.md "State". */
export function ociState(record: StateRecord, status: ContainerStatus): Record<string, unknown> {
  const { ociVersion, id, pid, bundle, annotations } = record;
  const isGone = status === "stopped";
  return { ociVersion, id, status, ...(isGone ? {} : { pid }), bundle, annotations };
}

/** The container's config as it was when it was made. @throws SpecError when somebody has changed it since */
export function readConfig(state: StateDirectory): Spec {
  return loadSpec(state.path, undefined, Number.POSITIVE_INFINITY).spec;
}

/** The hooks that it was made with; undefined when it has none of this stage. */
export function readHooks(state: StateDirectory, record: StateRecord, stage: HookStage): Hooks | undefined {
  return record.hooks?.includes(stage) ? readConfig(state).hooks : undefined;
}

export function newRecord(fields: Omit<StateRecord, "version">): StateRecord {
  return { version: STATE_VERSION, ...fields };
}
