/**
 * Device nodes and the links of /dev.
 * Rules: OCI config-linux.md "Devices", "Default Devices", "Dev symbolic links".
 */
import { AT_FDCWD, makedev, S_IFBLK, S_IFCHR, S_IFIFO } from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { LinuxDevice } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";
import { targetOf } from "./mounts.ts";

export const DEFAULT_DEVICES: readonly LinuxDevice[] = [
  { path: "/dev/null", type: "c", major: 1, minor: 3 },
  { path: "/dev/zero", type: "c", major: 1, minor: 5 },
  { path: "/dev/full", type: "c", major: 1, minor: 7 },
  { path: "/dev/random", type: "c", major: 1, minor: 8 },
  { path: "/dev/urandom", type: "c", major: 1, minor: 9 },
  { path: "/dev/tty", type: "c", major: 5, minor: 0 },
];

const LINKS: readonly (readonly [string, string])[] = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
];

export function planDevices(b: PlanBuilder, container: ContainerSpec, root: number): void {
  // A /dev that is bind-mounted belongs to somebody else: nothing is made in it.
  const bound = (container.spec.mounts ?? []).some(
    (mount) => /^\/dev\/?$/.test(mount.destination) && (mount.options ?? []).some((o) => o === "bind" || o === "rbind"),
  );
  if (bound) return;
  const devices = new Map(DEFAULT_DEVICES.map((device) => [device.path, device]));
  for (const device of container.spec.linux?.devices ?? []) devices.set(device.path, device);
  // As under runc: what is asked for is the container's own, which the link at the end makes.
  devices.delete("/dev/ptmx");
  for (const device of devices.values()) {
    const about = `linux.devices ${device.path}`;
    // Neither does root of the namespace that tsrun is in, as under an engine of an ordinary user. A pipe is no device.
    const canMake = device.type === "p" || !(container.userns || container.host.userns);
    if (canMake) makeDevice(b, about, device, root);
    else bindDevice(b, about, device, root);
  }
  for (const [to, path] of LINKS) b.add("/dev links", "symlink", root, to, path, 0);
  if (container.host.hasKcore) b.add("/dev links", "symlink", root, "/proc/kcore", "/dev/core", 0);
  b.add("/dev links", "symlink", root, "pts/ptmx", "/dev/ptmx", 0);
}

const FILE_TYPES: Record<string, number> = { c: S_IFCHR, u: S_IFCHR, b: S_IFBLK, p: S_IFIFO };

function makeDevice(b: PlanBuilder, about: string, device: LinuxDevice, root: number): void {
  const mode =
    typeOf(device) | (device.fileMode === undefined || device.fileMode === null ? 0o666 : device.fileMode & 0o7777);
  b.add(about, "mknod", root, device.path, mode, numberOf(device), device.uid ?? 0, device.gid ?? 0);
}

/**
 * mknod(2) makes no device in a user namespace, so the host's node is bound. It may be another
 * device than the config has there (an engine's `--device /dev/a:/dev/b`), and that one was not asked for.
 */
function bindDevice(b: PlanBuilder, about: string, device: LinuxDevice, root: number): void {
  const tree = b.newFd();
  b.add(about, "openTree", tree, AT_FDCWD, device.path, 0);
  b.add(about, "checkDevice", tree, typeOf(device), numberOf(device));
  const target = targetOf(b, about, root, device.path, "file");
  b.add(about, "attach", tree, target);
  b.add(about, "close", target);
  b.add(about, "close", tree);
}

function typeOf({ type }: LinuxDevice): number {
  return FILE_TYPES[type] ?? S_IFCHR;
}

function numberOf({ type, major = 0, minor = 0 }: LinuxDevice): number {
  return type === "p" ? 0 : makedev(major, minor);
}
