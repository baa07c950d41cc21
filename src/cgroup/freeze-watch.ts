/**
 * Freezing and thawing, told by the kernel: cgroup.events of v2 changes. A v1 freezer tells of nothing; but it is set by
 * writing to a file, and inotify tells of that. Rules: kernel cgroup-v2.rst "cgroup.events", inotify(7).
 */
import { isErrno } from "../errors.ts";
import { POLLIN } from "../sys/constants.ts";
import { watchFiles } from "../sys/notify.ts";
import { type Freezer, isFrozenAnyhow, isSelfFrozen } from "./freezer.ts";
import { type CgroupRecord, freezerOf } from "./record.ts";
import { type CgroupWatch, drain } from "./watches.ts";

/** Its news is true when it was frozen, false when it was thawed, undefined when it is as it was. */
export function watchFreezer(record: CgroupRecord): CgroupWatch<boolean | undefined> | undefined {
  const freezer = freezerOf(record);
  if (freezer === undefined) return undefined;
  try {
    return watch(freezer);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return undefined;
    throw error;
  }
}

function watch(freezer: Freezer): CgroupWatch<boolean | undefined> {
  const { dir, version } = freezer;
  // On v1 what was asked for: the processes follow without a word.
  const isFrozen = () => (version === 1 ? isSelfFrozen(freezer) : isFrozenAnyhow(freezer));
  const fd = watchFiles([`${dir}/${version === 1 ? "freezer.state" : "cgroup.events"}`]);
  let before = isFrozen();
  return {
    fd,
    events: POLLIN,
    fds: [fd],
    news() {
      drain(fd);
      const now = isFrozen();
      if (now === before) return undefined;
      before = now;
      return now;
    },
  };
}
