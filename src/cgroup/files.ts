/** Small readers of cgroupfs. A cgroup that is gone reads as undefined: cgroups vanish while we look. */
import { isErrno } from "../errors.ts";
import { utf8Text } from "../sys/call.ts";
import { AT_FDCWD, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, openat, read } from "../sys/file.ts";
import { readdirSync } from "../sys/fs.ts";
import { walkGroups } from "./tree.ts";

/** A file without its last newline; undefined when it, or its cgroup, is not there (ENODEV: while we read). */
export function readGroupFile(path: string): string | undefined {
  return readAt(AT_FDCWD, path);
}

function readAt(dir: number, path: string): string | undefined {
  let fd: number;
  try {
    fd = openat(dir, path, O_RDONLY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
  try {
    return readAll(fd).trimEnd();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  } finally {
    closeQuiet(fd);
  }
}

/** readFileSync would take a quarter of a megabyte for the few bytes that most of these files have. */
function readAll(fd: number): string {
  let text = "";
  for (let size = 512; ; size = 65536) {
    const buffer = new Uint8Array(size);
    const count = read(fd, buffer);
    text += textOf(buffer, count);
    // Files of cgroupfs come in one piece when they fit.
    if (count === 0 || (size === 512 && count < 256)) return text;
  }
}

/** The first bytes of a buffer as text. */
export function textOf(buffer: Uint8Array, length: number): string {
  return utf8Text(buffer.subarray(0, length));
}

/** Pids in a cgroup and in all cgroups below it. Processes of an outer pid namespace are not listed. */
export function groupProcesses(dir: string): number[] {
  const pids: number[] = [];
  walkGroups(
    dir,
    (group) => {
      for (const line of processList(group).split("\n")) {
        // The kernel writes 0 for a process that has no number in our pid namespace.
        if (line !== "" && line !== "0") pids.push(Number(line));
      }
    },
    undefined,
  );
  return pids;
}

function processList(group: number): string {
  try {
    return readAt(group, "cgroup.procs") ?? "";
  } catch (error) {
    // A threaded cgroup lists its processes in its domain only; here then are the threads.
    if (isErrno(error, "EOPNOTSUPP")) return readAt(group, "cgroup.threads") ?? "";
    throw error;
  }
}

/** The value of a key in a file of `key value` lines, such as cgroup.events. */
export function keyedValue(text: string | undefined, key: string): string | undefined {
  for (const line of (text ?? "").split("\n")) {
    if (line.startsWith(key) && line[key.length] === " ") return line.slice(key.length + 1);
  }
  return undefined;
}

/** Names of what is in the directory of a cgroup; none when it is gone. */
export function listGroupFiles(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return [];
    throw error;
  }
}
