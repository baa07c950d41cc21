/** Descriptors that become readable when something happens: inotify(7), eventfd(2). */
import { check, cString } from "./call.ts";
import { O_CLOEXEC, O_NONBLOCK } from "./constants.ts";
import { syscall } from "./ffi.ts";
import { SYS } from "./numbers.ts";

const IN_MODIFY = 0x2;

/** Readable when the content of one of the files changes. */
export function watchFiles(paths: readonly string[]): number {
  const fd = check(syscall(SYS.inotify_init1, O_CLOEXEC | O_NONBLOCK), "inotify_init");
  for (const path of paths) {
    check(syscall(SYS.inotify_add_watch, fd, cString(path, "inotify_add_watch"), IN_MODIFY), "inotify_add_watch", path);
  }
  return fd;
}

/** eventfd(2) with a count of 0: readable when somebody adds to it; read gives eight bytes. */
export function eventFd(): number {
  return check(syscall(SYS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK), "eventfd");
}
