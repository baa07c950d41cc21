/** What is mounted in the mount namespace of this process: proc_pid_mountinfo(5). */
import { TsrunError } from "../errors.ts";
import { dirname } from "../path.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { AT_FDCWD, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW } from "../sys/constants.ts";
import { statxAt } from "../sys/file.ts";
import { readFileSync } from "../sys/fs.ts";

export interface MountEntry {
  id: number;
  point: string;
  type: string;
}

export function mountTable(): MountEntry[] {
  const lines = readFileSync("/proc/self/mountinfo").trimEnd().split("\n");
  return lines.map((line) => {
    const fields = line.split(" ");
    const point = (fields[4] ?? "").replace(/\\([0-7]{3})/g, (_, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return { id: Number(fields[0]), point, type: fields[fields.indexOf("-") + 1] ?? "" };
  });
}

/** The mount point that holds a path: the longest one that begins it. */
export function mountOf(path: string): string {
  let best = "/";
  for (const { point } of mountTable()) {
    if (point.length > best.length && (path === point || path.startsWith(`${point}/`))) best = point;
  }
  return best;
}

/**
 * Mount points of procfs and sysfs that are not below the container's root, the last that was mounted first.
 *
 * @throws TsrunError for one that no path leads to, when the kernel would let the container mount one as open as that
 */
export function kernelMounts({ rootfs, userns }: ContainerSpec): { path: string; parent: string }[] {
  const root = rootfs.path;
  const found = mountTable().filter(
    ({ point, type }) => (type === "proc" || type === "sysfs") && point !== root && !point.startsWith(`${root}/`),
  );
  const reached = found.filter(isReached);
  const covered = found.find((entry) => !reached.includes(entry));
  if (covered !== undefined && userns) {
    throw new TsrunError(
      `--no-pivot with a user namespace: the ${covered.type} at ${covered.point} is covered by another mount, so that it cannot be kept from the container`,
      { fix: "unmount what lies over it, or leave --no-pivot out" },
    );
  }
  return reached.map(({ point }) => ({ path: point, parent: mountOf(dirname(point)) })).reverse();
}

/** Is it what its path leads to, or does another mount lie over it, or over what it lies on? */
function isReached({ id, point }: MountEntry): boolean {
  const found = statxAt(AT_FDCWD, point, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  return typeof found !== "number" && found.mountId === id;
}
