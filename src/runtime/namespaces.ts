/** Which namespaces a container has beside those of this process. */
import { SpecError } from "../errors.ts";
import { CLONE_NEWNS } from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { readlinkSync, statSync } from "../sys/fs.ts";

const NAMESPACE_FILES: readonly (readonly [string, number])[] = [
  ["user", 0x10000000],
  ["mnt", 0x20000],
  ["pid", 0x20000000],
  ["net", 0x40000000],
  ["ipc", 0x8000000],
  ["uts", 0x4000000],
  ["cgroup", 0x2000000],
  ["time", 0x80],
];

/**
 * Of the namespaces of a container (CLONE_NEW* bits) those that are not ours: joining one's own user namespace is an
 * error.
 */
export function foreignNamespaces(pid: number, namespaces: number): number {
  let bits = 0;
  for (const [file, flag] of NAMESPACE_FILES) {
    if ((namespaces & flag) === 0) continue;
    if (readlinkSync(`/proc/self/ns/${file}`) !== readlinkSync(`/proc/${pid}/ns/${file}`)) bits |= flag;
  }
  return bits;
}

/** In our own mount namespace a change of root would be everybody's. @throws SpecError */
export function refuseOwnMounts({ namespaces }: ContainerSpec): void {
  const path = namespaces.join.find(({ flag }) => flag === CLONE_NEWNS)?.path;
  if (path === undefined) return;
  const [theirs, ours] = [statSync(path), statSync("/proc/self/ns/mnt")];
  if (theirs?.ino !== ours?.ino || theirs?.dev !== ours?.dev) return;
  const message = `${path} is the mount namespace of tsrun: leave "path" out for a new one, or all of it to stay in this one`;
  throw new SpecError([{ path: "linux.namespaces", message }]);
}
