/**
 * The stack of directories that a container or an image has, and how it looks as one tree: an overlay, mounted
 * read-only and nowhere, so that the kernel itself answers what whiteouts, opaque directories and renames mean.
 */
import { isErrno, StateError, TsrunError } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { MOUNT_ATTR_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_PATH, RESOLVE_NO_SYMLINKS } from "../sys/constants.ts";
import { Fd, open, statx } from "../sys/file.ts";
import { existsSync } from "../sys/fs.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen } from "../sys/mount.ts";
import type { Statx } from "../sys/structs.ts";
import { chainIdsOf, type Digest } from "./digest.ts";
import { readText } from "./files.ts";
import { findImage, readImage } from "./imagedb.ts";
import { chainIds, contentDir, linkOf, readLayer, type StoredLayer } from "./layerdb.ts";
import { isFileName, isNamed, layerNameProblem, namedMountId, overlayDir } from "./layout.ts";
import { type Lower, parseLower } from "./link.ts";
import { commonOptions } from "./options.ts";
import { readRecord } from "./records.ts";

export interface Stack {
  mountId: string;
  /** What the container has written. */
  upper: string;
  /** Directories below it, top first; the init layer is the first. */
  lowers: string[];
  /** Chain ID of the topmost layer below the init layer; undefined when that is none of the store. */
  parent: Digest | undefined;
}

/** The stack of a container, or of a named read-write layer. @throws StateError when there is none */
export function stackOf(storageRoot: string, container: string): Stack {
  const mountId = mountIdOf(storageRoot, container);
  const home = mountId === undefined ? undefined : `${overlayDir(storageRoot)}/${mountId}`;
  const lower = home === undefined ? undefined : readText(`${home}/lower`);
  if (mountId === undefined || home === undefined || lower === undefined) {
    throw new StateError(`${container} has no read-write layer in the store at ${storageRoot}`, {
      fix: "only a container of layers (--image, --layer, --overlay) has one, and it goes with the container unless it is named",
    });
  }
  const parsed = parseLower(lower);
  const toPath = (layer: Lower) => ("link" in layer ? `${overlayDir(storageRoot)}/l/${layer.link}` : layer.path);
  const lowers = parsed.map(toPath);
  // The init layer of a named layer goes with each container that has it.
  if (isNamed(mountId) && !existsSync(lowers[0] ?? "")) lowers.shift();
  return { mountId, upper: `${home}/diff`, lowers, parent: parentOf(storageRoot, parsed.slice(1)) };
}

function mountIdOf(storageRoot: string, container: string): string | undefined {
  if (!isFileName(container)) return undefined;
  const recorded = readRecord(storageRoot, container)?.mountId;
  if (recorded !== undefined && recorded !== "") return recorded;
  if (layerNameProblem(container) !== undefined) return undefined;
  const named = namedMountId(container);
  return existsSync(`${overlayDir(storageRoot)}/${named}`) ? named : undefined;
}

/** The chain that these layers are, if they are exactly one. */
function parentOf(storageRoot: string, layers: readonly Lower[]): Digest | undefined {
  const [top] = layers;
  if (top === undefined || !("link" in top)) return undefined;
  for (const chainId of chainIds(storageRoot)) {
    const layer = readLayer(storageRoot, chainId);
    if (layer === undefined || linkOf(storageRoot, layer.cacheId) !== top.link) continue;
    let id: Digest | undefined = chainId;
    for (const lower of layers) {
      const own: StoredLayer | undefined = id === undefined ? undefined : readLayer(storageRoot, id);
      if (own === undefined || !("link" in lower) || linkOf(storageRoot, own.cacheId) !== lower.link) return undefined;
      id = own.parent;
    }
    return id === undefined ? chainId : undefined;
  }
  return undefined;
}

/** Directories of an image's layers, top first. */
export function imageDirs(storageRoot: string, reference: string): string[] {
  const { config } = readImage(storageRoot, findImage(storageRoot, reference));
  const layers = chainIdsOf(config.rootfs.diff_ids).map((chainId) => {
    const layer = readLayer(storageRoot, chainId);
    if (layer === undefined)
      throw new TsrunError(`layer ${chainId} of ${reference} is lost`, { fix: "import the image again" });
    return contentDir(storageRoot, layer);
  });
  return layers.reverse();
}

/** Directories, top first, as one tree. One alone is itself. @param userxattr marks are in user.* attributes */
export function mountView(directories: readonly string[], { userxattr = false } = {}): Fd {
  const [only] = directories;
  if (only === undefined) throw new TsrunError("there is nothing to look at: no layers");
  if (directories.length === 1) return new Fd(open(only, O_PATH | O_DIRECTORY));
  using context = new Fd(fsopen("overlay"));
  fsconfigSet(context.fd, "source", "overlay");
  for (const [name, value] of commonOptions({ userxattr, volatile: false })) fsconfigSet(context.fd, name, value);
  // Whatever options the layers were written with; userxattr excludes these.
  if (!userxattr) {
    fsconfigSet(context.fd, "redirect_dir", "follow");
    fsconfigSet(context.fd, "metacopy", "on");
  }
  for (const directory of directories) {
    using layer = new Fd(open(directory, O_PATH | O_DIRECTORY));
    addLower(context.fd, layer.fd);
  }
  fsconfigCreate(context.fd, directories[0] as string);
  return new Fd(fsmount(context.fd, MOUNT_ATTR_RDONLY));
}

function addLower(context: number, layer: number): void {
  try {
    fsconfigSet(context, "lowerdir+", layer);
  } catch (error) {
    // Linux before 6.13 takes no descriptors here; a path that leads to one it does.
    if (!isErrno(error, "EINVAL")) throw error;
    fsconfigSet(context, "lowerdir+", `/proc/self/fd/${layer}`);
  }
}

/** What a tree has at a path, without following a link anywhere on the way; undefined when there is nothing. */
export function lookIn(root: number, path: Uint8Array): Statx | undefined {
  try {
    using place = new Fd(resolveInRoot(root, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS));
    return statx(place.fd, "");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}
