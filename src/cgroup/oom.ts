/**
 * Out of memory, told by the kernel: memory.events of v2 changes, an eventfd of v1's memory.oom_control counts.
 * Rules: kernel cgroup-v2.rst "memory.events", cgroup-v1/memory.rst "OOM Control".
 */
import { isErrno } from "../errors.ts";
import { O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, open, read } from "../sys/file.ts";
import { eventFd, watchFiles } from "../sys/notify.ts";
import { parseKeyed } from "./figures.ts";
import { readGroupFile } from "./files.ts";
import type { CgroupRecord } from "./record.ts";
import { writeFile } from "./write.ts";

export interface OomWatch {
  /** Becomes readable when there may be news. */
  fd: number;
  /** How many processes were killed since it was asked last; to be called when `fd` is readable. */
  news(): number;
  /** Descriptors to close in the end. */
  fds: readonly number[];
}

/** @returns undefined when the container has no memory controller, or its cgroup is gone */
export function watchOom(record: CgroupRecord): OomWatch | undefined {
  try {
    return record.layout === "v2" ? watchEvents(record.paths[""]) : watchControl(record.paths.memory);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
}

function watchEvents(dir: string | undefined): OomWatch | undefined {
  if (dir === undefined) return undefined;
  const file = `${dir}/memory.events`;
  // A kill of the whole group counts there once for each process, so oom_kill has all.
  const kills = () => parseKeyed(readGroupFile(file)).oom_kill ?? 0;
  const fd = watchFiles([file]);
  let before = kills();
  return {
    fd,
    fds: [fd],
    news() {
      drain(fd);
      const now = kills();
      const more = now - before;
      before = now;
      return Math.max(more, 0);
    },
  };
}

function watchControl(dir: string | undefined): OomWatch | undefined {
  if (dir === undefined) return undefined;
  const fd = eventFd();
  const control = open(`${dir}/memory.oom_control`, O_RDONLY);
  writeFile(`${dir}/cgroup.event_control`, `${fd} ${control}`);
  return {
    fd,
    fds: [fd, control],
    news() {
      drain(fd);
      // The kernel counts once more when the cgroup is removed.
      return readGroupFile(`${dir}/memory.oom_control`) === undefined ? 0 : 1;
    },
  };
}

function drain(fd: number): void {
  try {
    read(fd, new Uint8Array(4096));
  } catch (error) {
    if (!isErrno(error, "EAGAIN")) throw error;
  }
}

export function closeWatch(watch: OomWatch | undefined): void {
  for (const fd of watch?.fds ?? []) closeQuiet(fd);
}
