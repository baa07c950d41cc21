/**
 * The options of the v2 hierarchy's file system, which all of its mounts share: whoever mounts it anew in the initial
 * cgroup namespace, as criu does for its own use, takes away from all those that he does not repeat.
 * Rules: kernel cgroup-v2.rst "Mounting"; kernel/cgroup/cgroup.c, apply_cgroup_root_flags.
 */
import { AT_FDCWD } from "../linux.ts";
import { warn } from "../log.ts";
import { closeQuiet } from "../sys/file.ts";
import { readFileSync } from "../sys/fs.ts";
import { fsconfigReconfigure, fsconfigSet, fspick } from "../sys/mount.ts";

/** Puts back, when it is disposed of, what has gone meanwhile. */
export function keepUnifiedOptions(): Disposable {
  const before = unifiedOptions(readFileSync("/proc/self/mountinfo"));
  return {
    [Symbol.dispose]() {
      if (before === undefined) return;
      const now = unifiedOptions(readFileSync("/proc/self/mountinfo"));
      if (now === undefined || before.words.every((word) => now.words.includes(word))) return;
      try {
        setOptions(before);
      } catch (error) {
        warn(`${before.mount} was mounted with ${before.words.join(",")}, and is not any more: ${error}`);
      }
    },
  };
}

export interface UnifiedOptions {
  /** Its first mount point. */
  mount: string;
  words: string[];
}

/** undefined where no v2 hierarchy is mounted. */
export function unifiedOptions(mountinfo: string): UnifiedOptions | undefined {
  const line = mountinfo.split("\n").find((one) => one.includes(" - cgroup2 "));
  const fields = line?.split(" ") ?? [];
  const mount = fields[4];
  if (mount === undefined) return undefined;
  return { mount, words: (fields.at(-1) ?? "").split(",").filter((word) => word !== "rw" && word !== "ro") };
}

function setOptions({ mount, words }: UnifiedOptions): void {
  const context = fspick(AT_FDCWD, mount);
  try {
    for (const word of words) fsconfigSet(context, word);
    fsconfigReconfigure(context, mount);
  } finally {
    closeQuiet(context);
  }
}
