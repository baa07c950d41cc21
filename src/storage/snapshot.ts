/**
 * Snapshots of a read-write layer: overlay2/<mount id>/snapshots/<name>, which go with the layer. A snapshot appears by
 * rename when it is whole, and a rollback exchanges two directories.
 */
import { isErrno, StateError } from "../errors.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, flockDir, open, renameat, syncfs } from "../sys/file.ts";
import { existsSync, mkdirSync, readdirSync, renameSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { copyTree } from "./copy-tree.ts";
import { layerNameProblem, mountsDir, overlayDir } from "./layout.ts";
import { holderOf } from "./records.ts";
import { joinProject, projectOf, withoutLimit } from "./size-limit.ts";
import { stackOf } from "./view.ts";

const RENAME_EXCHANGE = 2;

/** Names of the snapshots of a container's, or a named, read-write layer. */
export function snapshots(storageRoot: string, container: string): string[] {
  const dir = snapshotsDir(storageRoot, container);
  return existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => !name.startsWith("."))
        .sort()
    : [];
}

function snapshotsDir(storageRoot: string, container: string): string {
  return `${overlayDir(storageRoot)}/${stackOf(storageRoot, container).mountId}/snapshots`;
}

/** @throws StateError when there is one of that name */
export function makeSnapshot(storageRoot: string, container: string, name: string): void {
  checkName(name);
  const dir = snapshotsDir(storageRoot, container);
  mkdirSync(dir, { mode: 0o700, recursive: true });
  using _lock = flockDir(dir);
  if (existsSync(`${dir}/${name}`))
    throw new StateError(`${container} has a snapshot ${name} already`, {
      fix: `tsrun container forget ${container} ${name}`,
    });
  copyDirectory(stackOf(storageRoot, container).upper, dir, ".new");
  renameSync(`${dir}/.new`, `${dir}/${name}`);
}

/** Copies a directory to `dir/name`, and waits until the disk has it. What could not be copied whole is taken away again. */
function copyDirectory(from: string, dir: string, name: string, project?: number): void {
  removeTree(dir, name); // of one that was killed
  try {
    fillCopy(from, dir, name, project);
  } catch (error) {
    removeTree(dir, name); // of a full disk it would be the most
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
    throw new StateError("the layer changed while it was copied", { cause: error, fix: "pause the container first" });
  }
}

function fillCopy(from: string, dir: string, name: string, project: number | undefined): void {
  mkdirSync(`${dir}/${name}`, { mode: 0o700 });
  if (project !== undefined) joinProject(`${dir}/${name}`, project);
  using source = new Fd(open(from, O_RDONLY | O_DIRECTORY));
  using target = new Fd(open(`${dir}/${name}`, O_RDONLY | O_DIRECTORY));
  copyTree(source.fd, target.fd);
  syncfs(target.fd);
}

/**
 * Makes the layer what it was. The snapshot stays.
 *
 * @throws StateError while a container has the layer: overlayfs does not stand its upper directory being changed
 */
export function rollback(storageRoot: string, container: string, name: string): void {
  checkName(name);
  const { upper, mountId } = stackOf(storageRoot, container);
  // As a container that wants a named layer does: nobody gets it meanwhile.
  using _mounts = flockDir(mountsDir(storageRoot));
  const holder = holderOf(storageRoot, mountId);
  if (holder !== undefined)
    throw new StateError(`the read-write layer of ${container} is in use by container ${holder}`, {
      fix: `delete container ${holder} first`,
    });
  const dir = `${overlayDir(storageRoot)}/${mountId}/snapshots`;
  if (!existsSync(`${dir}/${name}`)) throw noSnapshot(storageRoot, container, name);
  using _lock = flockDir(dir);
  const home = `${overlayDir(storageRoot)}/${mountId}`;
  // While it is copied both count towards the limit of the layer.
  withoutLimit(home, () => copyDirectory(`${dir}/${name}`, dir, ".new", projectOf(home)?.project));
  // In one step: there is no moment without an upper directory.
  renameat(AT_FDCWD, `${dir}/.new`, AT_FDCWD, upper, RENAME_EXCHANGE);
  removeTree(dir, ".new");
}

export function forgetSnapshot(storageRoot: string, container: string, name: string): void {
  checkName(name);
  const dir = snapshotsDir(storageRoot, container);
  if (!existsSync(`${dir}/${name}`)) throw noSnapshot(storageRoot, container, name);
  using _lock = flockDir(dir);
  removeTree(dir, name);
}

function noSnapshot(storageRoot: string, container: string, name: string): StateError {
  const names = snapshots(storageRoot, container);
  return new StateError(`${container} has no snapshot ${name}`, {
    fix: names.length > 0 ? `there are: ${names.join(", ")}` : "tsrun container snapshot CONTAINER NAME makes one",
  });
}

function checkName(name: string): void {
  const problem = name.startsWith(".") ? "a name of a snapshot cannot begin with a dot" : layerNameProblem(name);
  if (problem !== undefined) throw new StateError(problem);
}
