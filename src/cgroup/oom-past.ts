/**
 * Was a process of a container killed for want of memory? For one whose cgroup is gone, by the kernel's log: systemd
 * removes that of a scope with its last process, and of a detached container nobody of ours sees its end.
 */
import { closeQuiet } from "../sys/file.ts";
import { existsSync, statSync } from "../sys/fs.ts";
import { openKernelLog, readKernelLog } from "../sys/kernel-log.ts";
import { readGroupFile } from "./files.ts";
import { detectCgroups } from "./hierarchies.ts";
import { KillLog, killsOf, type LoggedKill, type OomAnswer, type Suspect } from "./oom-log.ts";
import type { CgroupRecord } from "./record.ts";

/** The inodes of the namespaces that the machine begins with: include/linux/proc_ns.h. */
const FIRST_PID_NAMESPACE = 0xeffffffc;
const FIRST_CGROUP_NAMESPACE = 0xeffffffb;

/** More than the largest log has. */
const MOST_RECORDS = 1_000_000;
/** Kills elsewhere may fall between the two counts. */
const ATTEMPTS = 3;

/** How many processes the machine has killed for want of memory since it was started; undefined when it does not tell. */
export function machineKills(): number | undefined {
  const text = readGroupFile("/proc/vmstat") ?? "";
  // Two hundred lines: to take them all apart would be a tenth of a millisecond of every create.
  const found = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/**
 * For a container that has ended. Looks nowhere while its cgroup is there, which knows better.
 *
 * @param pid its first process as we see it
 * @returns undefined when it cannot be known: the log is not for us to read, or has been overwritten since
 */
export function pastKills(record: CgroupRecord, pid: number): OomAnswer | undefined {
  const before = record.systemd?.oomKillsBefore;
  const dir = record.layout === "v2" ? record.paths[""] : record.paths.memory;
  if (before === undefined || record.shared || dir === undefined || existsSync(dir)) return undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const now = machineKills();
    if (now === undefined) return undefined;
    if (now === before) return { oomKilled: false, oomKills: 0 };
    const kills = readKills();
    if (kills === undefined) return undefined;
    if (machineKills() === now) return killsOf(kills, now - before, suspectOf(record.layout, dir, pid));
  }
  return undefined;
}

function readKills(): LoggedKill[] | undefined {
  const fd = openKernelLog();
  if (fd === undefined) return undefined;
  try {
    const log = new KillLog();
    readKernelLog(
      fd,
      MOST_RECORDS,
      (line) => log.take(line),
      () => log.cut(),
    );
    return log.kills;
  } finally {
    closeQuiet(fd);
  }
}

/** The log has the machine's paths and numbers. */
function suspectOf(layout: CgroupRecord["layout"], dir: string, pid: number): Suspect {
  const isOurs = (name: string, first: number) => statSync(`/proc/self/ns/${name}`)?.ino === first;
  return {
    path: isOurs("cgroup", FIRST_CGROUP_NAMESPACE) ? pathOf(layout, dir) : undefined,
    pid: isOurs("pid", FIRST_PID_NAMESPACE) ? pid : undefined,
  };
}

function pathOf(layout: CgroupRecord["layout"], dir: string): string | undefined {
  const { v1, unified } = detectCgroups();
  const hierarchy = layout === "v2" ? unified : v1.find(({ controllers }) => controllers.includes("memory"));
  if (hierarchy === undefined || !dir.startsWith(`${hierarchy.mount}/`)) return undefined;
  const { mount, root } = hierarchy;
  return (root === "/" ? "" : root) + dir.slice(mount.length);
}
