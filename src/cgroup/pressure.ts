/**
 * Tasks that wait for CPU, memory or I/O, told by the kernel when they wait for longer than a threshold. The cgroup of a
 * hybrid layout's v2 tree does it too. Rules: kernel accounting/psi.rst "Monitoring for pressure thresholds".
 */
import { isErrno } from "../errors.ts";
import { O_NONBLOCK, O_RDWR, POLLPRI } from "../sys/constants.ts";
import { closeQuiet, open, write } from "../sys/file.ts";
import { readPressure } from "./figures.ts";
import type { CgroupRecord } from "./record.ts";
import type { Pressure } from "./stats.ts";
import type { CgroupWatch } from "./watches.ts";

export type PressureResource = "cpu" | "memory" | "io";

export const PRESSURE_RESOURCES: readonly PressureResource[] = ["cpu", "memory", "io"];

/** A whole number of 2 s: others are for who has CAP_SYS_RESOURCE. The kernel tells once in it at most. */
export const PRESSURE_WINDOW_MS = 2000;

/**
 * Watches for some tasks to have waited that long within PRESSURE_WINDOW_MS. Its news is the pressure then. Of a cgroup
 * that was removed it is ready for ever (POLLERR).
 *
 * @returns undefined where the kernel, or the layout, measures no pressure of cgroups
 */
export function watchPressure(
  record: CgroupRecord,
  resource: PressureResource,
  thresholdMs: number,
): CgroupWatch<Pressure | undefined> | undefined {
  const dir = record.paths[""];
  if (dir === undefined) return undefined;
  const file = `${dir}/${resource}.pressure`;
  let fd: number | undefined;
  try {
    fd = open(file, O_RDWR | O_NONBLOCK);
    write(fd, `some ${thresholdMs * 1000} ${PRESSURE_WINDOW_MS * 1000}`, file);
  } catch (error) {
    closeQuiet(fd);
    // EOPNOTSUPP: switched off at boot. The others: none of it here, or not ours to set.
    if (isErrno(error, "ENOENT", "ENODEV", "EOPNOTSUPP", "EACCES", "EPERM", "EROFS")) return undefined;
    throw error;
  }
  return { fd, events: POLLPRI, fds: [fd], news: () => readPressure(file) };
}
