/** Small readers of cgroupfs. A cgroup that is gone reads as undefined: cgroups vanish while we look. */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { isErrno } from "../errors.ts";

/** A file without its last newline; undefined when it, or its cgroup, is not there (ENODEV: while we read). */
export function readGroupFile(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
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
    closeSync(fd);
  }
}

/** readFileSync would take a quarter of a megabyte for the few bytes that most of these files have. */
function readAll(fd: number): string {
  let text = "";
  for (let size = 512; ; size = 65536) {
    const buffer = Buffer.allocUnsafe(size);
    const count = readSync(fd, buffer, 0, size, null);
    text += buffer.toString("latin1", 0, count);
    // Files of cgroupfs come in one piece when they fit.
    if (count === 0 || (size === 512 && count < 256)) return text;
  }
}

/** Names of the cgroups directly below. */
export function childGroups(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return [];
    throw error;
  }
}

/** Pids in a cgroup and in all cgroups below it. Processes of an outer pid namespace are not listed. */
export function groupProcesses(dir: string): number[] {
  const pids: number[] = [];
  for (const line of (readProcs(dir) ?? "").split("\n")) {
    // The kernel writes 0 for a process that has no number in our pid namespace.
    if (line !== "" && line !== "0") pids.push(Number(line));
  }
  for (const child of childGroups(dir)) pids.push(...groupProcesses(`${dir}/${child}`));
  return pids;
}

function readProcs(dir: string): string | undefined {
  try {
    return readGroupFile(`${dir}/cgroup.procs`);
  } catch (error) {
    // A threaded cgroup lists its processes in its domain only.
    if (isErrno(error, "EOPNOTSUPP")) return readGroupFile(`${dir}/cgroup.threads`);
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

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. For the short waits that cgroupfs has no event for. */
export function sleepMs(milliseconds: number): void {
  Atomics.wait(sleeper, 0, 0, milliseconds);
}

/** Asks again after 1, 2, 4 ... 50 ms until `done` says true; false when the time is over. */
export function waitUntil(done: () => boolean, timeoutMs: number): boolean {
  const end = Date.now() + timeoutMs;
  for (let pause = 1; !done(); pause = Math.min(pause * 2, 50)) {
    if (Date.now() >= end) return false;
    sleepMs(pause);
  }
  return true;
}
