/** Resources as data: what is written to which file of a cgroup, and the one place that writes it. */
import { isErrno, SyscallError, TsrunError } from "../errors.ts";
import { O_WRONLY } from "../sys/constants.ts";
import { closeQuiet, open as openFile, writeOnce } from "../sys/file.ts";
import { existsSync } from "../sys/fs.ts";
import { parseNested } from "./figures.ts";
import { readGroupFile } from "./files.ts";
import type { Journal } from "./journal.ts";

/** One write(2) to one file of a cgroup. */
export interface CgroupWrite {
  file: string;
  value: string;
  /** Refused with EINVAL, it is tried once more after the rest: two limits bound each other, and what is there is not known. */
  again?: true;
  /** The caller has named the file, and is told in the words of runc that it is not there. */
  named?: true;
  /** A kernel without this file already does what is asked. */
  optional?: true;
  /** What to write when this file does not exist. */
  otherwise?: CgroupWrite;
}

/** The writes of one controller. */
export interface ControllerWrites {
  controller: string;
  writes: CgroupWrite[];
}

/**
 * Carries out the writes of one controller in the cgroup `dir`.
 *
 * @param journal is told what was there before
 * @throws TsrunError naming the controller when the kernel has no such file, SyscallError when it refuses the value
 */
export function applyWrites(dir: string, controller: string, writes: readonly CgroupWrite[], journal?: Journal): void {
  const later: CgroupWrite[] = [];
  let open: { file: string; fd: number } | undefined;
  try {
    for (const write of writes) {
      if (open?.file !== write.file) {
        if (open !== undefined) closeQuiet(open.fd);
        open = undefined;
        const fd = openForWrite(dir, controller, write);
        if (fd === undefined) {
          if (write.otherwise !== undefined) applyWrites(dir, controller, [write.otherwise], journal);
          continue;
        }
        open = { file: write.file, fd };
      }
      const taken = journal?.before(dir, write);
      try {
        writeOnce(open.fd, write.value);
        taken?.();
      } catch (error) {
        if (!write.again || !isErrno(error, "EINVAL", "EBUSY")) throw refused(dir, controller, write, error);
        later.push({ file: write.file, value: write.value });
      }
    }
  } finally {
    if (open !== undefined) closeQuiet(open.fd);
  }
  if (later.length > 0) applyWrites(dir, controller, later, journal);
}

/** Writes one value to a file of cgroupfs, errors as the kernel gives them. */
export function writeFile(path: string, value: string): void {
  // Not writeFileSync: it would ask to create and truncate, and a missing file would be EACCES.
  const fd = openFile(path, O_WRONLY);
  try {
    writeOnce(fd, value, path);
  } finally {
    closeQuiet(fd);
  }
}

function openForWrite(dir: string, controller: string, write: CgroupWrite): number | undefined {
  const path = `${dir}/${write.file}`;
  try {
    return openFile(path, O_WRONLY);
  } catch (error) {
    if (isErrno(error, "ENOENT")) {
      if (write.optional || write.otherwise !== undefined) return undefined;
      if (write.named) throw new TsrunError(`cannot set ${write.file}: open ${path}: no such file or directory`);
      // Never the text of ENOENT: callers take it for a missing command (exit code 127).
      throw new TsrunError(`cannot set ${controller} limit: missing cgroup file ${path}`, {
        fix: `this kernel or this cgroup lacks it: is the ${controller} controller enabled?`,
      });
    }
    throw new SyscallError(`cannot set ${controller} limit: open`, codeOf(error), { path });
  }
}

function refused(dir: string, controller: string, write: CgroupWrite, error: unknown): Error {
  const code = codeOf(error);
  const operation = `cannot set ${controller} limit: write "${write.value}" to`;
  const path = `${dir}/${write.file}`;
  // As above: the text of ENOENT means a missing command to callers.
  if (code === "ENOENT") return new TsrunError(`${operation} ${path}: the kernel knows no such name`);
  const fix = fixFor(dir, controller, code);
  return new SyscallError(operation, code, fix === undefined ? { path } : { path, fix });
}

/** What may help against an errno that a limit was refused with; undefined where nothing is known. */
export function fixFor(dir: string, controller: string, code: string): string | undefined {
  const above = dir.slice(0, dir.lastIndexOf("/"));
  if (controller === "cpuset") {
    const show = (name: string) =>
      readGroupFile(`${above}/cpuset.${name}.effective`) ?? readGroupFile(`${above}/cpuset.effective_${name}`) ?? "?";
    return `the cgroup above has cpus ${show("cpus")} and mems ${show("mems")}`;
  }
  if (controller === "memory" && code === "EBUSY") {
    const usage = readGroupFile(`${dir}/memory.current`) ?? readGroupFile(`${dir}/memory.usage_in_bytes`);
    return `${usage} bytes are in use, and not all of them can be given back`;
  }
  if (controller === "rdma") {
    // A line for each device, with or without a limit.
    const devices = Object.keys(parseNested(readGroupFile(`${dir}/rdma.max`)));
    return `RDMA devices of this machine: ${devices.join(", ") || "none"}`;
  }
  // The kernel says the same of a cgroup that was removed meanwhile.
  if (code === "ENODEV" && (controller === "io" || controller === "blkio") && existsSync(dir))
    return "there is no whole disk with this number (a partition has no limits)";
  return undefined;
}

/** The errno name of an error of node:fs. */
export function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "EIO";
}

/**
 * A number of config.json as the kernel reads it. Numbers of JSON above 2^53 were rounded, upwards perhaps, and
 * the kernel takes more than 2^64 for 0; all of them mean "no limit".
 */
export function decimal(value: number): string {
  if (value >= 2 ** 63) return "9223372036854775807";
  return Number.isSafeInteger(value) ? String(value) : BigInt(Math.trunc(value)).toString();
}
