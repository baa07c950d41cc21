/**
 * Freezing a cgroup with all below it. Rules: kernel cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst "cgroup.freeze".
 */
import { isErrno, TsrunError } from "../errors.ts";
import { waitUntil } from "../sys/wait.ts";
import { keyedValue, readGroupFile } from "./files.ts";
import { writeFile } from "./write.ts";

/** The cgroup that freezes: of the v1 freezer when there is one, else that of v2. */
export interface Freezer {
  dir: string;
  version: 1 | 2;
}

const TIMEOUT_MS = 2000;

/** @throws TsrunError when it does not freeze within 2 s; it is thawed then */
export function freezeGroup(freezer: Freezer): void {
  const { dir, version } = freezer;
  const file = version === 1 ? "freezer.state" : "cgroup.freeze";
  const frozen = (): boolean => {
    // A v1 freezer can hang in FREEZING while processes fork; asking again includes the new ones.
    set(`${dir}/${file}`, version === 1 ? "FROZEN" : "1");
    return isAllFrozen(freezer);
  };
  if (waitUntil(frozen, TIMEOUT_MS)) return;
  thawGroup(freezer);
  throw new TsrunError(`cgroup ${dir} does not freeze: a process in it is in uninterruptible sleep or traced`);
}

export function thawGroup({ dir, version }: Freezer): void {
  set(`${dir}/${version === 1 ? "freezer.state" : "cgroup.freeze"}`, version === 1 ? "THAWED" : "0");
}

/** Was this very cgroup asked to freeze (a frozen parent does not count)? A cgroup that is gone is not frozen. */
export function isSelfFrozen({ dir, version }: Freezer): boolean {
  return readGroupFile(`${dir}/${version === 1 ? "freezer.self_freezing" : "cgroup.freeze"}`) === "1";
}

/** Is it frozen for whatever reason? A process that joins would stop at once, and we would wait for it for ever. */
export function isFrozenAnyhow({ dir, version }: Freezer): boolean {
  if (version === 1) {
    const state = readGroupFile(`${dir}/freezer.state`);
    return state !== undefined && state !== "THAWED";
  }
  return keyedValue(readGroupFile(`${dir}/cgroup.events`), "frozen") === "1";
}

function isAllFrozen({ dir, version }: Freezer): boolean {
  if (version === 1) return (readGroupFile(`${dir}/freezer.state`) ?? "FROZEN") === "FROZEN";
  const events = readGroupFile(`${dir}/cgroup.events`);
  return events === undefined || keyedValue(events, "frozen") === "1";
}

function set(path: string, value: string): void {
  try {
    writeFile(path, value);
  } catch (error) {
    // Gone: nothing is left to freeze or to thaw.
    if (!isErrno(error, "ENOENT", "ENODEV")) throw error;
  }
}
