/** `events`: what a container uses, and what happens to it. Rules: runc-events(8). */
import type { CgroupRecord } from "../cgroup/manager.ts";
import { closeWatch, watchOom } from "../cgroup/oom.ts";
import { type CgroupStats, readStats } from "../cgroup/stats.ts";
import { StateError } from "../errors.ts";
import { POLLIN } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen, poll } from "../sys/process.ts";
import { isAlive, statusOf } from "./lifecycle.ts";
import { networkInterfaces } from "./network.ts";
import { stateRoot } from "./paths.ts";
import { StateDirectory, type StateRecord } from "./state.ts";

export type ContainerEvent =
  | { type: "stats"; id: string; data: CgroupStats }
  /** The kernel has killed a process of the container for want of memory. */
  | { type: "oom"; id: string };

/** What it uses now. @throws StateError when it does not run or has no cgroup */
export function containerStats(root: string | undefined, id: string): CgroupStats {
  const record = runningRecord(root, id);
  return statsOf(record, cgroupOf(record));
}

function statsOf(record: StateRecord, cgroup: CgroupRecord): CgroupStats {
  const stats = readStats(cgroup);
  stats.network_interfaces = networkInterfaces(record);
  return stats;
}

/**
 * Calls `tell` for everything that happens until the container has ended: figures every `intervalMs`, and each time that
 * memory ran out. Blocks, and does nothing between the events: the kernel tells of both.
 *
 * @throws StateError when it does not run or has no cgroup
 */
export function watchContainer(
  root: string | undefined,
  id: string,
  intervalMs: number,
  tell: (event: ContainerEvent) => void,
): void {
  const record = runningRecord(root, id);
  const cgroup = cgroupOf(record);
  const pidFd = pidfdOpen(record.pid);
  const oom = watchOom(cgroup);
  try {
    if (!isAlive(record.pid, record.startTime)) return;
    let next = performance.now() + intervalMs;
    for (;;) {
      const wait = Math.max(next - performance.now(), 0);
      const watched = [pidFd, ...(oom === undefined ? [] : [oom.fd])].map((fd) => ({ fd, events: POLLIN }));
      const [ended, news] = poll(watched, wait);
      if (news && oom !== undefined) for (let count = oom.news(); count > 0; count--) tell({ type: "oom", id });
      if (ended) return;
      if (performance.now() < next) continue;
      tell({ type: "stats", id, data: statsOf(record, cgroup) });
      next += intervalMs;
    }
  } finally {
    closeWatch(oom);
    closeQuiet(pidFd);
  }
}

function runningRecord(root: string | undefined, id: string): StateRecord {
  const record = new StateDirectory(stateRoot(root), id).read();
  const status = statusOf(record);
  if (status === "stopped") throw new StateError(`container with id ${id} is not running`);
  return record;
}

function cgroupOf({ cgroup }: StateRecord): CgroupRecord {
  if (cgroup !== undefined && Object.keys(cgroup.paths).length > 0) return cgroup;
  throw new StateError("the container has no cgroup, so nothing counts what it uses");
}
