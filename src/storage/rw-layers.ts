/**
 * The read-write layers of a store: those with a name, which outlive their containers, and those of containers, of which
 * one that has gone without `delete` (the machine was switched off) leaves its own.
 */
import { StateError } from "../errors.ts";
import { flockDir } from "../sys/file.ts";
import { existsSync, readdirSync } from "../sys/fs.ts";
import { directorySize } from "./directory-size.ts";
import { readText, unmountQuiet } from "./files.ts";
import { removeContent } from "./layerdb.ts";
import {
  initId,
  isFileName,
  isNamed,
  layerName,
  layerNameProblem,
  mountsDir,
  namedMountId,
  overlayDir,
} from "./layout.ts";
import { holderOf, readRecord, removeRecord, usersOf } from "./records.ts";
import { users } from "./references.ts";
import { projectOf } from "./size-limit.ts";
import { ensureStore, lockStore, syncStore } from "./store-lock.ts";

/** A read-write layer and who has it. */
export interface RwLayerRow {
  /** Absent for that of a container only. */
  name?: string;
  /** The container that has it, or has left it. */
  container?: string;
  /** That container exists. */
  isInUse: boolean;
  /** Bytes on disk: what was written, and the snapshots. */
  size: number;
  snapshots: { count: number; size: number };
  /** The most bytes that it may take. */
  limit?: number;
  driver: string;
}

/** Named ones first. */
export function rwLayers(storageRoot: string): RwLayerRow[] {
  const rows = [...users(storageRoot)].map(([mountId, user]) => rowOf(storageRoot, mountId, user));
  return rows.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function sortKey({ name, container }: RwLayerRow): string {
  return name === undefined ? `1${container}` : `0${name}`;
}

function rowOf(storageRoot: string, mountId: string, user: string): RwLayerRow {
  const home = `${overlayDir(storageRoot)}/${mountId}`;
  const snapshots = `${home}/snapshots`;
  const names = existsSync(snapshots) ? readdirSync(snapshots).filter((name) => !name.startsWith(".")) : [];
  const container = holderOf(storageRoot, mountId) ?? (isNamed(mountId) ? undefined : user);
  const limit = projectOf(home)?.sizeBytes;
  return {
    ...(isNamed(mountId) && { name: layerName(mountId) }),
    ...(container !== undefined && { container }),
    isInUse: holderOf(storageRoot, mountId) !== undefined,
    size: directorySize(`${home}/diff`),
    snapshots: { count: names.length, size: directorySize(snapshots) },
    ...(limit !== undefined && { limit }),
    driver: readText(`${home}/driver`) ?? "overlay2",
  };
}

/**
 * Removes a read-write layer that no container has, and its snapshots with it.
 *
 * @param name its name or, for one that has none, the container that has left it
 * @throws StateError when there is none, and while a container has it
 */
export function removeRwLayer(storageRoot: string, name: string): void {
  ensureStore(storageRoot);
  using _store = lockStore(storageRoot);
  // As a container that wants a named layer does: nobody gets it meanwhile.
  using _mounts = flockDir(mountsDir(storageRoot));
  const mountId = find(storageRoot, name);
  const home = `${overlayDir(storageRoot)}/${mountId}`;
  const holder = holderOf(storageRoot, mountId);
  if (holder !== undefined) throw inUse(mountId, holder);
  unmountQuiet(`${home}/merged`); // of a mount that was killed, on kernels that need a place for it
  // Killed in between, a layer is still found by what it was found by now: its directory, or the container's record.
  if (isNamed(mountId)) forgetDead(storageRoot, mountId);
  removeContent(storageRoot, initId(mountId));
  removeContent(storageRoot, mountId);
  forgetDead(storageRoot, mountId);
  syncStore(storageRoot);
}

function forgetDead(storageRoot: string, mountId: string): void {
  for (const container of usersOf(storageRoot, mountId)) removeRecord(storageRoot, container);
}

/** Not as stackOf finds one: the name of a container must not be enough to lose a layer that has a name of its own. */
function find(storageRoot: string, name: string): string {
  if (layerNameProblem(name) === undefined && existsSync(`${overlayDir(storageRoot)}/${namedMountId(name)}`))
    return namedMountId(name);
  const mountId = isFileName(name) ? (readRecord(storageRoot, name)?.mountId ?? "") : "";
  if (mountId !== "" && !isNamed(mountId)) return mountId;
  throw new StateError(`the store at ${storageRoot} has no read-write layer ${JSON.stringify(name)}`, {
    fix:
      mountId === ""
        ? "`tsrun container layers` prints those it has"
        : `container ${name} has the named layer ${layerName(mountId)}`,
  });
}

function inUse(mountId: string, holder: string): StateError {
  if (isNamed(mountId))
    return new StateError(`read-write layer ${layerName(mountId)} is in use by container ${holder}`, {
      fix: `delete container ${holder} first`,
    });
  return new StateError(`container ${holder} exists, and its read-write layer goes with it`, {
    fix: `tsrun delete ${holder}`,
  });
}
