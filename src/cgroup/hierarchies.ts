/**
 * Which cgroup hierarchies this machine has, where they are mounted and where we are in them.
 * Read from /proc/self/cgroup and /proc/self/mountinfo; see cgroups(7), proc_pid_mountinfo(5).
 */
import { O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, open, read } from "../sys/file.ts";
import { readGroupFile, textOf } from "./files.ts";

export type CgroupLayout = "v1" | "hybrid" | "v2" | "none";

/** One mounted hierarchy. */
export interface Hierarchy {
  /** As in /proc/self/cgroup: `["cpu", "cpuacct"]`, `["name=systemd"]`; empty for cgroup v2. */
  controllers: string[];
  /** Where it is mounted. */
  mount: string;
  /** The directory of the cgroup we are in, at or below `mount`. */
  own: string;
  /** The directory inside the hierarchy that is mounted at `mount`: "/" but for bind mounts. */
  root: string;
}

export interface CgroupHierarchies {
  layout: CgroupLayout;
  /** Hierarchies of version 1; none when the layout is v2. */
  v1: Hierarchy[];
  /** The hierarchy of version 2, when it is mounted. */
  unified: Hierarchy | undefined;
}

/** Reads what this process sees of the cgroup hierarchies, in some 50 microseconds. Nothing is kept. */
export function detectCgroups(): CgroupHierarchies {
  const own = readGroupFile("/proc/self/cgroup");
  // Absent from kernels built without cgroups, and where procfs is not mounted.
  if (own === undefined) return { layout: "none", v1: [], unified: undefined };
  return parseHierarchies(parseCgroupFile(own), readMountinfo());
}

/** A line of /proc/PID/cgroup. */
export interface CgroupLine {
  controllers: string[];
  path: string;
}

/** The lines of /proc/PID/cgroup; the v2 line has no controllers. A path may hold colons. */
export function parseCgroupFile(text: string): CgroupLine[] {
  const lines: CgroupLine[] = [];
  for (const line of text.split("\n")) {
    const first = line.indexOf(":");
    const second = line.indexOf(":", first + 1);
    if (second < 0) continue;
    const names = line.slice(first + 1, second);
    lines.push({ controllers: names === "" ? [] : names.split(","), path: line.slice(second + 1) });
  }
  return lines;
}

/**
 * Finds the mount of each hierarchy. A hierarchy that is mounted several times is used where it lies under
 * /sys/fs/cgroup, else at its first mount; one that is not mounted is left out.
 *
 * Every container starts with this, in an engine that is cold: plain loops, as filter, find and destructuring each
 * cost tens of microseconds the first time.
 */
export function parseHierarchies(own: readonly CgroupLine[], mountinfo: string): CgroupHierarchies {
  const mounts = cgroupMounts(mountinfo);
  const v1: Hierarchy[] = [];
  let unified: Hierarchy | undefined;
  let onlyNames = true;
  for (const line of own) {
    const found = findMount(mounts, line.controllers[0]);
    if (found === undefined) continue;
    const { mount, root } = found;
    const hierarchy = { controllers: line.controllers, mount, root, own: directoryOf(found, line.path) };
    const first = line.controllers[0];
    if (first === undefined) unified = hierarchy;
    else v1.push(hierarchy);
    if (first !== undefined && !first.startsWith("name=")) onlyNames = false;
  }
  // A named hierarchy beside a v2 one with all controllers (elogind makes it) is no hybrid.
  if (unified !== undefined && (onlyNames || unified.mount === "/sys/fs/cgroup")) {
    return { layout: "v2", v1: [], unified };
  }
  if (v1.length === 0) return { layout: "none", v1, unified };
  return { layout: unified === undefined ? "v1" : "hybrid", v1, unified };
}

/**
 * The directory of a cgroup that /proc/PID/cgroup names `path`. In a container without a cgroup namespace those
 * paths are the host's while the mount shows only a part of them, `root`; what lies outside of it has no directory
 * here, and the top of the mount stands for it.
 */
export function directoryOf({ mount, root }: Pick<Hierarchy, "mount" | "root">, path: string): string {
  if (path === root || path.startsWith("/..")) return mount;
  // A root of "/.." is outside of our cgroup namespace; what it shows cannot be told from here.
  if (root === "/" || root.startsWith("/..")) return path === "/" ? mount : mount + path;
  return path.startsWith(`${root}/`) ? mount + path.slice(root.length) : mount;
}

/** The way back: how /proc/PID/cgroup names the cgroup of a directory at or below `mount`. */
export function pathOf({ mount, root }: Pick<Hierarchy, "mount" | "root">, dir: string): string {
  const below = dir.slice(mount.length);
  if (root === "/" || root.startsWith("/..")) return below === "" ? "/" : below;
  return root + below;
}

interface CgroupMount {
  v2: boolean;
  root: string;
  mount: string;
  /** Of the file system, a comma before and after each. */
  options: string;
}

function cgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (let at = mountinfo.indexOf(" - cgroup"); at >= 0; at = mountinfo.indexOf(" - cgroup", at + 1)) {
    const end = mountinfo.indexOf("\n", at);
    const before = mountinfo.slice(mountinfo.lastIndexOf("\n", at) + 1, at).split(" ");
    const after = mountinfo.slice(at + 3, end < 0 ? undefined : end).split(" ");
    const type = after[0];
    if (type !== "cgroup" && type !== "cgroup2") continue;
    mounts.push({
      v2: type === "cgroup2",
      root: decode(before[3] ?? "/"),
      mount: decode(before[4] ?? ""),
      options: `,${after[2] ?? ""},`,
    });
  }
  return mounts;
}

/**
 * The mount of the v1 hierarchy with this controller, or of v2 when there is none. Of several at one place the last
 * is the one that is seen there.
 */
function findMount(mounts: readonly CgroupMount[], controller: string | undefined): CgroupMount | undefined {
  let usual: CgroupMount | undefined;
  let other: CgroupMount | undefined;
  for (const mount of mounts) {
    if (mount.v2 !== (controller === undefined)) continue;
    if (controller !== undefined && !mount.options.includes(`,${controller},`)) continue;
    if (mount.mount.startsWith("/sys/fs/cgroup")) {
      if (usual === undefined || usual.mount === mount.mount) usual = mount;
    } else if (other === undefined || other.mount === mount.mount) other = mount;
  }
  return usual ?? other;
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function decode(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * The first part of mountinfo, up to the last cgroup mount of the host: a machine with a thousand containers has
 * megabytes of it, and the cgroup mounts are near the beginning.
 */
function readMountinfo(): string {
  const fd = open("/proc/self/mountinfo", O_RDONLY);
  try {
    let text = "";
    const buffer = new Uint8Array(16384);
    for (;;) {
      // The kernel hands out whole lines, a page of them at a time.
      const count = read(fd, buffer);
      if (count === 0) return text;
      const part = textOf(buffer, count);
      const isOver = !part.includes(" - cgroup") && text.includes(" /sys/fs/cgroup") && text.includes(" - cgroup");
      if (isOver) return text;
      text += part;
    }
  } finally {
    closeQuiet(fd);
  }
}
