/**
 * Out of memory, told by the kernel: memory.events of v2 changes, an eventfd of v1's memory.oom_control counts.
 * Rules: kernel cgroup-v2.rst "memory.events", cgroup-v1/memory.rst "OOM Control".
 */
import { isErrno } from "../errors.ts";
import { O_RDONLY, POLLIN } from "../sys/constants.ts";
import { closeQuiet, open } from "../sys/file.ts";
import { eventFd, watchFiles } from "../sys/notify.ts";
import { waitUntil } from "../sys/wait.ts";
import { parseKeyed } from "./figures.ts";
import { readGroupFile } from "./files.ts";
import type { CgroupRecord } from "./record.ts";
import { type CgroupWatch, drain, takeCount } from "./watches.ts";
import { writeFile } from "./write.ts";

/** From the news of v1 to the kill. What takes longer is told with what comes next. */
const KILL_TIMEOUT_MS = 5;

/** Its news is how many processes were killed. */
export interface OomWatch extends CgroupWatch<number> {
  /**
   * How many of `kills`, the kernel's count when the container has ended, were never news: v2 tells some ten
   * milliseconds late, and a cgroup that goes meanwhile tells nothing.
   */
  missed(kills: number): number;
}

/** @returns undefined when the container has no memory controller, its cgroup is gone, or its owner tells nobody but root */
export function watchOom(record: CgroupRecord): OomWatch | undefined {
  try {
    return record.layout === "v2" ? watchEvents(record.paths[""]) : watchControl(record.paths.memory);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV", "EACCES", "EPERM", "EROFS")) return undefined;
    throw error;
  }
}

function watchEvents(dir: string | undefined): OomWatch | undefined {
  if (dir === undefined) return undefined;
  const file = `${dir}/memory.events`;
  const fd = watchFiles([file]);
  const upTo = counter(killsIn(file) ?? 0);
  return {
    fd,
    events: POLLIN,
    fds: [fd],
    news() {
      drain(fd);
      return upTo(killsIn(file) ?? 0);
    },
    missed: upTo,
  };
}

function watchControl(dir: string | undefined): OomWatch | undefined {
  if (dir === undefined) return undefined;
  const file = `${dir}/memory.oom_control`;
  const control = open(file, O_RDONLY);
  const fd = eventFd();
  try {
    writeFile(`${dir}/cgroup.event_control`, `${fd} ${control}`);
  } catch (error) {
    for (const opened of [fd, control]) closeQuiet(opened);
    throw error;
  }
  const upTo = counter(killsIn(file) ?? 0);
  return {
    fd,
    events: POLLIN,
    fds: [fd, control],
    news() {
      const count = takeCount(fd);
      const state = parseKeyed(readGroupFile(file));
      // The kernel counts once more when the cgroup is removed. It kills nobody where that is switched off.
      if (count === 0 || state.under_oom === undefined) return 0;
      if (state.oom_kill === undefined || state.oom_kill_disable === 1) return count;
      // It tells before it kills, and then each time that memory is asked for while the one it chose is dying.
      let more = 0;
      waitUntil(() => {
        more = upTo(killsIn(file) ?? 0);
        return more > 0;
      }, KILL_TIMEOUT_MS);
      return more;
    },
    missed: upTo,
  };
}

/** By how much a count has grown since it was asked last; one that is smaller has not. */
function counter(start: number): (count: number) => number {
  let told = start;
  return (count) => {
    const more = Math.max(count - told, 0);
    told += more;
    return more;
  };
}

/** A kill of the whole group (memory.oom.group) counts there once for each process, so oom_kill has all. */
function killsIn(file: string): number | undefined {
  return parseKeyed(readGroupFile(file)).oom_kill;
}
