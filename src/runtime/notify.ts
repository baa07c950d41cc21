/**
 * A container whose caller waits until it is ready (NOTIFY_SOCKET): `create` makes the directory that it is told in,
 * `run` and `start` the socket, and pass on what comes there.
 */
import { inFull, isErrno } from "../errors.ts";
import { connectNotify, relayReadiness } from "../io/notify.ts";
import { warn } from "../log.ts";
import { NOTIFY_ATTRIBUTES } from "../plan/notify.ts";
import { closeQuiet } from "../sys/file.ts";
import { chmodSync, existsSync, mkdirSync, rmdirSync, unlinkSync } from "../sys/fs.ts";
import { mountSetattr, openTree } from "../sys/mount.ts";
import { unixReceive } from "../sys/socket.ts";
import { openRecorded } from "./recorded.ts";
import type { StateDirectory, StateRecord } from "./state.ts";

/** In the directory of the state. */
export const NOTIFY_DIRECTORY = "notify";
export const NOTIFY_SOCKET = `${NOTIFY_DIRECTORY}/notify.sock`;

const AT_FDCWD = -100;
const OPEN_TREE_CLONE = 1;

/** Makes the directory that the container gets to see. @returns its path */
export function makeNotifyDirectory(state: StateDirectory): string {
  const path = `${state.path}/${NOTIFY_DIRECTORY}`;
  mkdirSync(path);
  // Whatever the umask: every user of the container may say that it is ready.
  chmodSync(path, 0o755);
  return path;
}

/** A mount of it, for a plan that cannot reach it by its path. */
export function openNotifyTree(path: string): number {
  const tree = openTree(AT_FDCWD, path, OPEN_TREE_CLONE);
  try {
    mountSetattr(tree, "", 0, { set: NOTIFY_ATTRIBUTES });
    return tree;
  } catch (error) {
    closeQuiet(tree);
    throw error;
  }
}

export function removeNotify(state: StateDirectory): void {
  unlinkStale(state);
  rmdirSync(`${state.path}/${NOTIFY_DIRECTORY}`);
}

function unlinkStale(state: StateDirectory): void {
  try {
    unlinkSync(`${state.path}/${NOTIFY_SOCKET}`);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** What the container says, and who waits for it. */
export class Readiness {
  /** What the container says comes here. */
  readonly socket: number;
  /** Who waits for it. */
  readonly host: number;

  private constructor(socket: number, host: number) {
    this.socket = socket;
    this.host = host;
  }

  /**
   * To be called before the process runs, by who holds the lock.
   *
   * @param address $NOTIFY_SOCKET
   * @returns undefined, after a warning, when nobody listens there or the container was not made for it
   */
  static open(state: StateDirectory, address: string): Readiness | undefined {
    if (!existsSync(`${state.path}/${NOTIFY_DIRECTORY}`)) {
      warn(`NOTIFY_SOCKET was not set when container ${state.id} was created: it cannot tell that it is ready`);
      return undefined;
    }
    let host: number;
    try {
      host = connectNotify(address);
    } catch (error) {
      warn(`NOTIFY_SOCKET: nobody will be told that the container is ready: ${inFull(error)}`);
      return undefined;
    }
    try {
      // A `start` that was killed has left it.
      unlinkStale(state);
      return new Readiness(unixReceive(`${state.path}/${NOTIFY_SOCKET}`), host);
    } catch (error) {
      closeQuiet(host);
      throw error;
    }
  }

  /** Waits until the container is ready, or has ended, and passes that on. */
  wait(record: StateRecord): void {
    using process = openRecorded(record);
    try {
      relayReadiness({ socket: this.socket, host: this.host, pid: record.pid, pidFd: process?.fd });
    } catch (error) {
      // Who was there when the container started is away, or does not read. The container runs.
      warn(`NOTIFY_SOCKET: nobody was told that the container is ready: ${inFull(error)}`);
    }
  }

  [Symbol.dispose](): void {
    closeQuiet(this.socket);
    closeQuiet(this.host);
  }
}
