/**
 * Sources of bind mounts that root of the container's user namespace cannot reach, as below a directory of mode 0700.
 * The runtime opens them in the container's mount namespace, where what the kernel has locked stays locked, and hands
 * them to the init. Rules: mount_namespaces(7) "Restrictions on mount namespaces"; user_namespaces(7) "Capabilities".
 */
import { isErrno, TsrunError } from "../errors.ts";
import { dirname } from "../path.ts";
import { setupIds } from "../plan/namespaces.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { mountMappings } from "../spec/idmap.ts";
import { parseMountOptions } from "../spec/mount-options.ts";
import type { LinuxIDMapping, Mount } from "../spec/types.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../sys/constants.ts";
import { Fd, open } from "../sys/file.ts";
import { realpathSync, type Stats, statSync } from "../sys/fs.ts";
import { sourceLink } from "./source-links.ts";

/** Of the mounts those whose source the runtime opens, in order. None where the runtime can do no more than the init. */
export function farSources(container: ContainerSpec): number[] {
  const { host, userns, spec } = container;
  if (!userns || !host.privileged || host.euid !== 0) return [];
  const seen = new Map<string, boolean>();
  const far: number[] = [];
  spec.mounts?.forEach((mount, i) => {
    if (needsSource(mount, container) && !isReachable(mount.source ?? "", container, seen)) far.push(i);
  });
  return far;
}

/** Mounts with mapped ids have their tree already, and links that are copied need none. */
function needsSource(mount: Mount, { spec }: ContainerSpec): boolean {
  const options = parseMountOptions(mount.options);
  const isBind = options.bind || mount.type === "bind";
  if (!isBind || options.remount || mountMappings(mount, spec.linux ?? {}, options) !== undefined) return false;
  return sourceLink(mount, options) === undefined;
}

/** May every directory on the way be searched, on that of the links in it too? A way that is not there is not ours to tell of. */
function isReachable(source: string, container: ContainerSpec, seen: Map<string, boolean>): boolean {
  try {
    for (const path of new Set([source, realpathSync(source)])) {
      for (let dir = dirname(path); ; dir = dirname(dir)) {
        let answer = seen.get(dir);
        if (answer === undefined) {
          answer = maySearch(statSync(dir), container);
          seen.set(dir, answer);
        }
        if (!answer) return false;
        if (dir === "/" || dir === ".") break;
      }
    }
    return true;
  } catch {
    return true;
  }
}

function maySearch(status: Stats | undefined, container: ContainerSpec): boolean {
  if (status === undefined) return true;
  const { uidMappings, gidMappings, host } = container;
  const inside = setupIds(container);
  const uid = toHost(inside.uid, uidMappings) ?? host.euid;
  const gid = toHost(inside.gid, gidMappings) ?? host.egid;
  // Its capabilities reach what is owned by ids that it has.
  if (isMapped(status.uid, uidMappings) && isMapped(status.gid, gidMappings)) return true;
  const shift = status.uid === uid ? 6 : status.gid === gid ? 3 : 0;
  return ((status.mode >> shift) & 1) === 1;
}

function toHost(id: number, mappings: readonly LinuxIDMapping[]): number | undefined {
  const map = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return map === undefined ? undefined : map.hostID + id - map.containerID;
}

function isMapped(id: number, mappings: readonly LinuxIDMapping[]): boolean {
  return mappings.some(({ hostID, size }) => id >= hostID && id < hostID + size);
}

/**
 * Opens (O_PATH) the source of a mount as it is in the mount namespace of process `pid`.
 *
 * @throws TsrunError
 */
export function openFarSource(pid: number, mount: Mount, i: number): number {
  const { source = "", destination } = mount;
  const { keepSourceLink } = parseMountOptions(mount.options);
  try {
    using root = new Fd(open(`/proc/${pid}/root`, O_PATH | O_DIRECTORY));
    return resolveInRoot(root.fd, source, O_PATH | (keepSourceLink ? O_NOFOLLOW : 0));
  } catch (cause) {
    // Of a source the usual words are right.
    const words = isErrno(cause, "ENOENT") ? ": no such file or directory" : "";
    throw new TsrunError(`mounts[${i}] ${destination}: open ${source}${words}`, { cause });
  }
}
