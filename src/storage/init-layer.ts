/**
 * Fills the init layer: the files that every container gets for itself, on top of the image and below what the
 * container writes, so that a commit of the read-write layer never carries them. Rules: PEERS 4.1, moby's
 * daemon/initlayer; where Docker leaves empty files as targets of bind mounts, ours have content already.
 */
import { isErrno } from "../errors.ts";
import { chmodSync, chownSync, lstatSync, readFileSync, type Stats, symlinkSync, writeFileSync } from "../sys/fs.ts";
import { makeDirectory, makeVisible, type Owner } from "./files.ts";

export interface InitLayerRequest {
  /** The init layer's diff directory: exists and is empty. */
  directory: string;
  /** Directories of the layers below, lowest first. */
  layers: readonly string[];
  /** Absent: the host's. */
  hostname?: string;
  /** Absent: the host's, as it is now. */
  resolvConf?: string;
  /** Root as the container's user namespace maps it. */
  owner?: Owner;
  /** The owner of what layer number `index` has, as the merged view shows it. */
  mapOwner?: (owner: Owner, index: number) => Owner;
}

export function fillInitLayer(request: InitLayerRequest): void {
  const { directory, owner } = request;
  const file = (path: string, text: string, mode: number): void => {
    writeFileSync(`${directory}/${path}`, text, { mode });
    if (owner !== undefined) chownSync(`${directory}/${path}`, owner.uid, owner.gid);
    chmodSync(`${directory}/${path}`, mode); // whatever the umask is
  };

  if (makeTop(request, "etc")) {
    const hostname = request.hostname ?? hostHostname();
    file("etc/hostname", `${hostname}\n`, 0o644);
    file("etc/hosts", hostsText(hostname), 0o644);
    file("etc/resolv.conf", request.resolvConf ?? hostResolvConf(), 0o644);
    symlinkSync("/proc/mounts", `${directory}/etc/mtab`);
  }
  if (makeTop(request, "dev")) {
    file("dev/console", "", 0o755);
    makeVisible(`${directory}/dev/pts`, 0o755, owner);
    makeVisible(`${directory}/dev/shm`, 0o755, owner);
  }
  makeTop(request, "proc");
  makeTop(request, "sys");
}

/**
 * Makes a directory of the root, with the mode and the owner that the layers below show there: in the merged
 * view a directory's own attributes are those of the topmost layer that has it.
 *
 * Returns false, and makes nothing, where the layers show something else than a directory: a directory of ours
 * would hide it, and an image whose /etc is a symbolic link would lose what is behind it.
 */
function makeTop({ directory, layers, owner, mapOwner }: InitLayerRequest, name: string): boolean {
  const path = `${directory}/${name}`;
  const shown = lookUp(layers, name);
  if (shown === undefined) makeVisible(path, 0o755, owner);
  else if (!shown.isDirectory()) return false;
  else makeLike(path, shown, mapOwner === undefined ? shown : mapOwner(shown, topmost(layers, name)));
  return true;
}

function makeLike(path: string, { mode }: Stats, { uid, gid }: Owner): void {
  makeDirectory(path, 0o700);
  if (uid !== process.geteuid?.() || gid !== process.getegid?.()) {
    try {
      chownSync(path, uid, gid);
    } catch (error) {
      // In a user namespace that does not map the owner nothing can be given away in his name.
      if (!isErrno(error, "EPERM", "EINVAL")) throw error;
    }
  }
  chmodSync(path, mode & 0o7777); // after chown(2), which takes setuid and setgid off
}

/**
 * What the merged view of the layers has at this name of the root: the topmost entry, unless it is a whiteout.
 * The name is one component and lstat(2) does not follow it, so nothing leads out of a layer.
 */
export function lookUp(layers: readonly string[], name: string): Stats | undefined {
  for (let i = layers.length - 1; i >= 0; i--) {
    const stats = lstatSync(`${layers[i]}/${name}`);
    if (stats !== undefined) return isWhiteout(stats) ? undefined : stats;
  }
  return undefined;
}

function topmost(layers: readonly string[], name: string): number {
  for (let i = layers.length - 1; i >= 0; i--) if (lstatSync(`${layers[i]}/${name}`) !== undefined) return i;
  return -1;
}

/** How overlayfs marks what an upper layer deleted: a character device 0:0. */
function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

/** The content of /etc/hosts: the loopback names, and the container's own on an address of the loopback net. */
export function hostsText(hostname: string): string {
  // A name with a blank or a line break in it, which the kernel takes, would be other entries here.
  const own = hostname === "localhost" || !/^[^\s#]+$/.test(hostname) ? "" : `127.0.1.1\t${hostname}\n`;
  return `127.0.0.1\tlocalhost
${own}::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;
}

function hostHostname(): string {
  return readFileSync("/proc/sys/kernel/hostname").trim();
}

/** The host's resolver configuration as it is now; empty where the host has none that can be read. */
function hostResolvConf(): string {
  try {
    return readFileSync("/etc/resolv.conf");
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP", "EACCES", "EISDIR")) throw error;
    return "";
  }
}
