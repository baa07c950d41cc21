/** Descriptors that become readable when something happens: inotify(7), eventfd(2). */
import { check, cString } from "./call.ts";
import { IN_MODIFY, O_CLOEXEC, O_NONBLOCK } from "./constants.ts";
import { syscall } from "./ffi.ts";
import { closeQuiet } from "./file.ts";
import { SYS } from "./numbers.ts";

/** Readable when the content of one of the files changes. */
export function watchFiles(paths: readonly string[]): number {
  const fd = inotify();
  try {
    for (const path of paths) addWatch(fd, path, IN_MODIFY);
  } catch (error) {
    closeQuiet(fd);
    throw error;
  }
  return fd;
}

/** inotify_init1(2): nothing is watched yet. */
export function inotify(): number {
  return check(syscall(SYS.inotify_init1, O_CLOEXEC | O_NONBLOCK), "inotify_init");
}

/** inotify_add_watch(2); again for the same path it takes the place of what was watched for. */
export function addWatch(fd: number, path: string, mask: number): void {
  check(syscall(SYS.inotify_add_watch, fd, cString(path, "inotify_add_watch"), mask), "inotify_add_watch", path);
}

/** eventfd(2) with a count of 0: readable when somebody adds to it; read gives eight bytes. */
export function eventFd(): number {
  return check(syscall(SYS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK), "eventfd");
}
