/**
 * layerdb/mounts/<container>: which read-write layer a container has. The first thing that is made and the last
 * that goes, so that whatever a killed tsrun leaves behind can be found from the container's id alone.
 */

import { isErrno } from "../errors.ts";
import { dirname } from "../path.ts";
import { existsSync, mkdirSync, readdirSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { makeDirectory, readText, writeText } from "./files.ts";
import { initId, isMountId, mountsDir } from "./layout.ts";

export interface MountRecord {
  mountId: string;
  /** "sha256:<chain ID>" of the topmost layer, when that one is in the store. */
  parent?: string;
  /** The container's state directory: while it exists the container does. */
  stateDir?: string;
  /** Name of the bundle in the store that it is made of. */
  bundle?: string;
}

/** Claims the container's entry. Returns false when there is one already. */
export function writeRecord(storageRoot: string, container: string, record: MountRecord): boolean {
  const dir = `${mountsDir(storageRoot)}/${container}`;
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    if (!isErrno(error, "ENOENT")) throw error;
    makeStore(storageRoot);
    return writeRecord(storageRoot, container, record);
  }
  // Before mount-id: who knows the layer knows whether its container lives.
  if (record.stateDir !== undefined) writeText(`${dir}/state`, record.stateDir);
  if (record.bundle !== undefined) writeText(`${dir}/bundle`, record.bundle);
  writeText(`${dir}/mount-id`, record.mountId);
  writeText(`${dir}/init-id`, initId(record.mountId));
  if (record.parent !== undefined) writeText(`${dir}/parent`, record.parent);
  return true;
}

/** The directories that all containers share. Root of a user namespace must be able to pass through. */
export function makeStore(storageRoot: string): void {
  makeWithParents(storageRoot);
  for (const dir of ["overlay2", "image", "image/overlay2", "image/overlay2/layerdb"])
    makeDirectory(`${storageRoot}/${dir}`, 0o711);
  makeDirectory(`${storageRoot}/overlay2/l`, 0o700);
  // Last: where it is, the others are.
  makeDirectory(mountsDir(storageRoot), 0o700);
}

/** Not mkdir's `recursive`: that says ENOENT where the filesystem is read-only. */
function makeWithParents(path: string): void {
  try {
    makeDirectory(path, 0o711);
  } catch (error) {
    if (!isErrno(error, "ENOENT") || dirname(path) === path) throw error;
    makeWithParents(dirname(path));
    makeDirectory(path, 0o711);
  }
}

/** What is recorded; `mountId` is "" when tsrun was killed before it could be written. */
export function readRecord(storageRoot: string, container: string): MountRecord | undefined {
  const dir = `${mountsDir(storageRoot)}/${container}`;
  const mountId = readText(`${dir}/mount-id`) ?? "";
  if (mountId === "" && !existsSync(dir)) return undefined;
  const record: MountRecord = { mountId: isMountId(mountId) ? mountId : "" };
  const stateDir = readText(`${dir}/state`);
  if (stateDir !== undefined) record.stateDir = stateDir;
  return record;
}

/** Forgets the container. */
export function removeRecord(storageRoot: string, container: string): void {
  removeTree(mountsDir(storageRoot), container);
}

/** The containers whose record names this read-write layer, but for one. */
export function usersOf(storageRoot: string, mountId: string, except?: string): string[] {
  return readdirSync(mountsDir(storageRoot)).filter(
    (container) => container !== except && readText(`${mountsDir(storageRoot)}/${container}/mount-id`) === mountId,
  );
}

/** The container that has this read-write layer and is still there; one that left no state directory counts as such. */
export function holderOf(storageRoot: string, mountId: string): string | undefined {
  return usersOf(storageRoot, mountId).find((container) => {
    const stateDir = readRecord(storageRoot, container)?.stateDir;
    return stateDir === undefined || existsSync(stateDir);
  });
}
