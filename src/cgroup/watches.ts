/** Descriptors by which the kernel tells of what happens in a cgroup. */
import { isErrno } from "../errors.ts";
import { closeQuiet, read } from "../sys/file.ts";
import { viewOf } from "../sys/structs.ts";

export interface CgroupWatch<News> {
  fd: number;
  /** What to wait for at `fd` (POLL*). */
  events: number;
  /** What has happened since it was asked last; nothing is told twice. */
  news(): News;
  /** Descriptors to close in the end. */
  fds: readonly number[];
}

export function closeWatch(watch: Pick<CgroupWatch<unknown>, "fds"> | undefined): void {
  for (const fd of watch?.fds ?? []) closeQuiet(fd);
}

/** Takes what is there off an inotify descriptor. */
export function drain(fd: number): void {
  readNow(fd, new Uint8Array(4096));
}

/** The count of an eventfd, which is 0 afterwards. */
export function takeCount(fd: number): number {
  const buffer = new Uint8Array(8);
  return readNow(fd, buffer) === 0 ? 0 : Number(viewOf(buffer).getBigUint64(0, true));
}

function readNow(fd: number, buffer: Uint8Array): number {
  try {
    return read(fd, buffer);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return 0;
    throw error;
  }
}
