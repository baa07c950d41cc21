/**
 * What a container has from outside and criu is told of by name: mounts whose source is the host's, and descriptors.
 * An image holds the names; what they stand for is said anew when it is restored. Rules: criu(8), --external.
 */

/** A line of proc_pid_mountinfo(5). */
export interface MountLine {
  id: number;
  /** "major:minor" */
  device: string;
  /** What of its file system is mounted. */
  root: string;
  point: string;
}

export function parseMountinfo(text: string): MountLine[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id, , device = "", root = "", point = ""] = line.split(" ");
      return { id: Number(id), device, root: unescapeOctal(root), point: unescapeOctal(point) };
    });
}

function unescapeOctal(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** A mount of config.json that comes from outside. */
export interface OutsideMount {
  /** Its destination, which is its name in the image too. */
  name: string;
  /** The mount that is there in the container now. */
  mountId: number;
}

/** A device node of the host, which may be mounted on files of the container. */
export interface HostNode {
  path: string;
  /** "major:minor" of the file system that it is in. */
  device: string;
}

/**
 * The mounts of a container that are not its own, as criu is told of them for a dump: those of config.json with what
 * lies below them, and the host's device nodes, wherever they were put.
 */
export function dumpedMounts(
  table: readonly MountLine[],
  outside: readonly OutsideMount[],
  nodes: readonly HostNode[],
): string[] {
  const names = new Map<string, string>();
  const own = new Set(outside.map(({ mountId }) => mountId));
  for (const { name, mountId } of outside) {
    const line = table.find(({ id }) => id === mountId);
    // The container has taken it away.
    if (line === undefined || line.point === "/") continue;
    names.set(line.point, name);
    // Of a recursive bind. What config.json has put below is listed itself.
    for (const { id, point } of table) {
      if (point.startsWith(`${line.point}/`) && !own.has(id)) names.set(point, name + point.slice(line.point.length));
    }
  }
  for (const { device, root, point } of table) {
    const node = nodes.find((one) => one.device === device && one.path.endsWith(root) && root !== "/");
    if (node !== undefined) names.set(point, node.path);
  }
  return [...names].map(([point, name]) => `mnt[${point}]:${name}`);
}

/** The same for a restore: what each name stands for now. */
export function restoredMounts(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].map(([name, source]) => `mnt[${name}]:${source}`);
}

/** criu's name for an open file that is in no mount of the container. */
export function fileName(mountId: number, inode: number): string {
  return `file[${mountId.toString(16)}:${inode.toString(16)}]`;
}

/** Is this a name that fileName() gives? criu has to be told of it when it dumps. */
export function isOutsideFile(name: string): boolean {
  return name.startsWith("file[");
}

/**
 * criu's name for a terminal of the host, of its device number and that of the file system that it is a file of.
 *
 * @param rdev both as sys/ has them, major * 0x100000 + minor; criu has them as the kernel gives them to programs
 *   (new_encode_dev in include/linux/kdev_t.h)
 */
export function terminalName(rdev: number, dev: number): string {
  return `tty[${encodeDevice(rdev)}:${encodeDevice(dev)}]`;
}

function encodeDevice(device: number): string {
  const [major, minor] = [Math.floor(device / 0x100000), device % 0x100000];
  return ((minor & 0xff) + major * 0x100 + (minor & ~0xff) * 0x1000).toString(16);
}

/** Is this a name that terminalName() gives? criu has to be told of it, too. */
export function isOutsideTerminal(name: string): boolean {
  return name.startsWith("tty[");
}

/** Can another descriptor take the place of one of this name? Pipes keep theirs, and need not be told of. */
export function isOutside(name: string): boolean {
  return isOutsideFile(name) || isOutsideTerminal(name) || name.startsWith("pipe:[");
}

/** The name of a descriptor of /dev/null. */
export const NULL = "null";

/**
 * What takes the place of standard input, output and error that led outside, of the names that a dump has kept: the
 * descriptor of the same number, or NULL for what was the null device. A pipe there would be sought in, and criu fail.
 */
export function inheritedStdio(kept: readonly unknown[]): Map<string, number | typeof NULL> {
  const found = new Map<string, number | typeof NULL>();
  const nulls = kept.slice(3);
  kept.slice(0, 3).forEach((name, fd) => {
    // Of several that are one pipe, criu takes one.
    if (typeof name !== "string" || !isOutside(name) || found.has(name)) return;
    found.set(name, nulls.includes(name) ? NULL : fd);
  });
  return found;
}

export const NETWORK_NAMESPACE = "extRootNetNS";
export const PID_NAMESPACE = "extRootPidNS";
