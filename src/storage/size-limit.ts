/**
 * How much a container may write: its read-write layer is one project of the file system's quota, and that project has
 * a limit. overlay2/<mount id>/project has the number of the project and the limit in bytes. Overlayfs writes without
 * CAP_SYS_RESOURCE, whatever the container has, so nobody in it is above the limit.
 */
import { isErrno, StateError } from "../errors.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, open } from "../sys/file.ts";
import { readdirSync } from "../sys/fs.ts";
import { enforcesProjects, projectUse, setProject, setProjectLimit } from "../sys/quota.ts";
import { readText, writeText } from "./files.ts";
import { layerName } from "./layout.ts";

/** A new project is sought so often; 2^31 of them make one try enough. */
const TRIES = 64;

/**
 * Limits a read-write layer that nothing is mounted on. One that has a project keeps it and gets the new limit.
 *
 * @param home overlay2/<mount id>, with diff and work
 * @param random 32 bits that are another layer's only by chance
 * @throws StateError when the file system has no project quota, or the layer has content of no project
 */
export function limitLayer(home: string, sizeBytes: number, random: number): void {
  using directory = new Fd(open(home, O_RDONLY | O_DIRECTORY));
  if (!enforcesProjects(directory.fd)) throw noQuota(home);
  const known = projectOf(home);
  if (known === undefined && readdirSync(`${home}/diff`).length > 0) {
    const name = layerName(home.slice(home.lastIndexOf("/") + 1));
    throw new StateError(`the read-write layer ${name} was made without a size limit, and has content already`, {
      fix: "choose another name for the layer, or leave the limit out",
    });
  }
  const project = known?.project ?? freeProject(directory.fd, random);
  // Written before the project has anything: whoever removes the layer finds it.
  writeText(`${home}/project`, `${project} ${sizeBytes}`);
  limit(directory.fd, project, sizeBytes, home);
  // What overlayfs makes in work moves to diff, which takes nothing of another project (EXDEV).
  for (const part of ["work", "diff"]) joinProject(`${home}/${part}`, project);
}

function limit(fd: number, project: number, sizeBytes: number, home: string): void {
  try {
    setProjectLimit(fd, project, sizeBytes);
  } catch (cause) {
    if (!isErrno(cause, "EPERM")) throw cause;
    throw new StateError(`the size of ${home} cannot be limited`, {
      cause,
      fix: "only root of the host may set quotas; leave the limit out",
    });
  }
}

/** Puts an empty directory, and all that will be made in it, into a project. */
export function joinProject(path: string, project: number): void {
  using directory = new Fd(open(path, O_RDONLY | O_DIRECTORY));
  setProject(directory.fd, project, path);
}

/** The project of a layer, and its limit; undefined when its size is not limited. */
export function projectOf(home: string): { project: number; sizeBytes: number } | undefined {
  const match = /^([1-9]\d{0,9}) (\d{1,16})$/.exec(readText(`${home}/project`)?.trim() ?? "");
  return match === null ? undefined : { project: Number(match[1]), sizeBytes: Number(match[2]) };
}

/**
 * Does something while the layer has no limit: the mount of one that is full would otherwise be read-only, since
 * overlayfs makes a directory for its work then.
 */
export function withoutLimit<T>(home: string, task: () => T): T {
  const known = projectOf(home);
  if (known === undefined) return task();
  using directory = new Fd(open(home, O_RDONLY | O_DIRECTORY));
  setProjectLimit(directory.fd, known.project, 0);
  try {
    return task();
  } finally {
    // From the file, so that one whose mount was interrupted here has its limit again with the next.
    setProjectLimit(directory.fd, known.project, known.sizeBytes);
  }
}

/** Takes the limit of a project that has no files any more off the file system of `directory`. */
export function forgetProject(directory: string, project: number): void {
  using place = new Fd(open(directory, O_RDONLY | O_DIRECTORY));
  try {
    setProjectLimit(place.fd, project, 0);
  } catch (error) {
    // Quotas are not on any more: what the next mount with them finds is a limit on nothing.
    if (!isErrno(error, "ESRCH", "ENOSYS", "EPERM", "EINVAL", "ENOENT")) throw error;
  }
}

/** A project that has no file and no limit: others than tsrun have projects, too. */
function freeProject(fd: number, random: number): number {
  for (let i = 0; i < TRIES; i++) {
    // From 2^31 on, since people number theirs from 1 on; the last one means "none".
    const project = 0x8000_0000 + ((random + i * 0x9e37_79b1) % 0x7fff_fffe);
    const { limitBytes, usedInodes } = projectUse(fd, project);
    if (limitBytes === 0 && usedInodes === 0) return project;
  }
  throw new StateError("no project of the file system's quota is free", { fix: "xfs_quota or repquota -P lists them" });
}

function noQuota(home: string): StateError {
  return new StateError(`the size of ${home} cannot be limited: its file system has no project quota`, {
    fix: "keep the store (--store) on ext4 made with `mkfs.ext4 -O project,quota` and mounted with prjquota, or on xfs mounted with pquota; Linux 5.14 or newer",
  });
}
