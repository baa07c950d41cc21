/**
 * The directories of a container's cgroup, made from the mount of a hierarchy down. Rules: cgroups(7); what the kernel
 * refuses is in its kernel/cgroup/cgroup.c.
 */
import { isErrno, SyscallError, TsrunError } from "../errors.ts";
import { mkdirSync } from "../sys/fs.ts";
import { groupProcesses } from "./files.ts";
import type { Hierarchy } from "./hierarchies.ts";
import { baseOf, type CgroupPath } from "./path.ts";
import type { CgroupRecord, CgroupRequest } from "./record.ts";
import { codeOf } from "./write.ts";

/** Makes one cgroup of the container; undefined when rootless, nobody asked for it and it may not be made. */
export function makeGroup(
  request: CgroupRequest,
  path: CgroupPath,
  hierarchy: Hierarchy,
  record: CgroupRecord,
): string | undefined {
  const base = baseOf(hierarchy, path, record.layout);
  const dir = `${base}/${path.names.join("/")}`;
  try {
    const isNew = makeDirectories(base, path.names, record.made);
    // Systemd has put the container's own process there.
    if (!isNew && record.systemd === undefined && !request.isOccupied) noteOccupied(dir, request, record);
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) throw new TsrunError(`cannot make cgroup ${dir}: a file of cgroupfs has this name`);
    const denied = isErrno(error, "EACCES", "EPERM", "EROFS");
    if (denied && request.rootless && !request.cgroupsPath) return undefined;
    throw error;
  }
  return dir;
}

/** What makeGroup threw; in runc's words, with what an ordinary user can do about it. */
export function explainDenied(error: unknown): unknown {
  if (!(error instanceof SyscallError) || error.operation !== "mkdir" || !isErrno(error, "EACCES", "EPERM"))
    return error;
  return new TsrunError(`unable to apply cgroup configuration: mkdir ${error.path}: permission denied`, {
    fix: "delegate a cgroup to this user, or remove linux.cgroupsPath",
  });
}

/** Each directory from `mount` to `dir`, both included. */
export function directories(mount: string, dir: string): string[] {
  const dirs = [mount];
  let current = mount;
  for (const name of dir.slice(mount.length).split("/")) {
    if (name === "") continue;
    current = `${current}/${name}`;
    dirs.push(current);
  }
  return dirs;
}

/** Makes a directory and those above it that are missing; false when it was there already. */
function makeDirectories(base: string, names: readonly string[], made: string[]): boolean {
  const dir = `${base}/${names.join("/")}`;
  // Another container's delete may take a parent away in between: some attempts, each from the top.
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(dir, { mode: 0o755 });
      made.push(dir);
      return true;
    } catch (error) {
      if (isErrno(error, "EEXIST")) return false;
      if (!isErrno(error, "ENOENT") || attempt === 10) throw mkdirError(dir, error);
    }
    if (names.length === 1) throw new TsrunError(`cannot make cgroup ${dir}: ${base} is gone`);
    makeDirectories(base, names.slice(0, -1), made);
  }
}

/** What the kernel means when it refuses a new cgroup; kernel/cgroup/cgroup.c, mm/memcontrol.c. */
const MKDIR_FIXES: Record<string, string> = {
  EAGAIN: "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached",
  ENOSPC: "the kernel has no number left for a memory cgroup: many removed ones still hold memory",
  EINVAL: "no cgroup may have this name",
  EROFS:
    "cgroups are mounted read-only here, as in most containers: mount them writable in the container that this is, or use --cgroup-manager disabled",
};

function mkdirError(dir: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === "ENOENT") return new TsrunError(`cannot make cgroup ${dir}: the one above it is gone`);
  const fix = MKDIR_FIXES[code];
  return new SyscallError("mkdir", code, fix === undefined ? { path: dir } : { path: dir, fix });
}

/** A cgroup that has processes already is used, as under runc 1.1, with a warning: the limits hit them too. */
function noteOccupied(dir: string, request: CgroupRequest, record: CgroupRecord): void {
  if (record.shared) return;
  const { length } = groupProcesses(dir);
  if (length > 0) noteOthers(length, dir, request, record);
}

export function noteOthers(count: number, dir: string, request: CgroupRequest, record: CgroupRecord): void {
  record.shared = true;
  request.warn?.(
    `container's cgroup is not empty: ${count} process(es) found in ${dir}; the container's limits are theirs too`,
  );
}
