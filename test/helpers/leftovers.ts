/** Cgroups that a test left behind when it failed: its own were checked by then, and the next run should not find them. */
import { existsSync, rmdirSync } from "node:fs";
import { basename } from "node:path";
import { groupProcesses } from "../../src/cgroup/files.ts";
import { removeGroup } from "../../src/cgroup/remove.ts";
import { removeBelow } from "../../src/cgroup/tree.ts";
import { cgroupsNamed } from "./runtime.ts";
import { TEST_PREFIX } from "./scratch.ts";

/** Not those of another process whose number begins with ours. */
const OURS = new RegExp(`${TEST_PREFIX}(?!\\d)`);

/** Ends what is in the cgroups of this process's containers, and removes them. */
export function removeCgroups(): void {
  const dirs = cgroupsNamed().filter((dir) => OURS.test(basename(dir)));
  for (const dir of dirs) {
    for (const pid of groupProcesses(dir)) killQuietly(pid);
  }
  for (const dir of dirs) {
    // One that is empty goes at once; else its processes need a moment.
    if (!tryRemove(dir)) removeGroup(dir);
  }
}

/** Removes the empty cgroups of test processes that have ended: they were killed before they could. */
export function removeStaleCgroups(): void {
  for (const dir of cgroupsNamed("tsrun-test-")) {
    const pid = /tsrun-test-(\d+)/.exec(basename(dir))?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    removeBelow(dir);
    tryRemove(dir);
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

function tryRemove(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch {
    return false;
  }
}
