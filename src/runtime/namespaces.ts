/** Which namespaces a container has beside those of this process. */
import { readlinkSync } from "../sys/fs.ts";

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
