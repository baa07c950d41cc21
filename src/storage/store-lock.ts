/**
 * Who may change the store when. One lock, an flock(2) on image/overlay2: exclusive while something becomes known or
 * is taken away, shared while a container is prepared from layers. What is being written lies in overlay2/new-…,
 * each locked by who writes it, so that the leftovers of a killed one can be told from work in progress.
 */
import { isErrno } from "../errors.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, flockDir, open, syncfs } from "../sys/file.ts";
import { existsSync, mkdirSync, readdirSync } from "../sys/fs.ts";
import { randomBytes } from "../sys/random.ts";
import { removeTree } from "../sys/remove.ts";
import { withStoreFix } from "./files.ts";
import { makeImageDirs } from "./imagedb.ts";
import { layersDir, TEMPORARY } from "./layerdb.ts";
import { overlayDir } from "./layout.ts";
import { hex } from "./link.ts";
import { makeStore } from "./records.ts";

/** Makes the directories of the store where they are not there. */
export function ensureStore(storageRoot: string): void {
  try {
    if (!existsSync(`${storageRoot}/overlay2/l`)) makeStore(storageRoot);
    mkdirSync(layersDir(storageRoot), { mode: 0o700, recursive: true });
    makeImageDirs(storageRoot);
  } catch (error) {
    throw withStoreFix(error, storageRoot);
  }
}

/** Holds the store for oneself until disposed of. */
export function lockStore(storageRoot: string, { shared = false } = {}): Fd {
  return flockDir(`${storageRoot}/image/overlay2`, { exclusive: !shared });
}

/** All that was written to the store is on disk. */
export function syncStore(storageRoot: string): void {
  using directory = new Fd(open(storageRoot, O_RDONLY | O_DIRECTORY));
  syncfs(directory.fd, storageRoot);
}

/** A directory overlay2/new-… with an empty diff, ours until it is registered or disposed of. */
export class WorkDirectory {
  readonly name: string;
  readonly path: string;
  readonly #storageRoot: string;
  readonly #lock: Fd;
  #isKept = false;

  constructor(storageRoot: string) {
    this.#storageRoot = storageRoot;
    this.name = TEMPORARY + hex(randomBytes(16));
    this.path = `${overlayDir(storageRoot)}/${this.name}`;
    // Under the lock of the store: nobody may find it before it is locked itself.
    using _store = lockStore(storageRoot);
    mkdirSync(this.path, { mode: 0o710 });
    this.#lock = flockDir(this.path);
    mkdirSync(`${this.path}/diff`, { mode: 0o755 });
  }

  /** It has become a layer. */
  keep(): void {
    this.#isKept = true;
  }

  [Symbol.dispose](): void {
    try {
      if (!this.#isKept) removeTree(overlayDir(this.#storageRoot), this.name);
    } finally {
      this.#lock[Symbol.dispose]();
    }
  }
}

/** Removes what killed ones have left. The caller holds the lock of the store. @returns how much there was */
export function sweep(storageRoot: string): number {
  let count = 0;
  for (const name of readdirSync(overlayDir(storageRoot))) {
    if (!name.startsWith(TEMPORARY)) continue;
    try {
      using _work = flockDir(`${overlayDir(storageRoot)}/${name}`, { nonBlock: true });
      removeTree(overlayDir(storageRoot), name);
      count++;
    } catch (error) {
      // Somebody is at work there, or it is gone by now.
      if (!isErrno(error, "EAGAIN", "ENOENT")) throw error;
    }
  }
  for (const name of readdirSync(layersDir(storageRoot))) {
    // The lock of the store is ours, so nobody is writing it.
    if (!name.startsWith(TEMPORARY)) continue;
    removeTree(layersDir(storageRoot), name);
    count++;
  }
  return count;
}
