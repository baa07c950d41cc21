/** What is needed by whom: images and containers hold layers; what nobody holds may go. */
import { existsSync, readdirSync, readlinkSync } from "../sys/fs.ts";
import { chainIdsOf, type Digest, hexOf } from "./digest.ts";
import { readText } from "./files.ts";
import { imageIds, readImage, readNames } from "./imagedb.ts";
import { chainIds, readLayer, TEMPORARY } from "./layerdb.ts";
import { chainDir, initId, isMountId, isNamed, mountsDir, overlayDir } from "./layout.ts";
import { parseLower } from "./link.ts";

export interface Holders {
  /** Images whose chain the layer is in. */
  images: Digest[];
  /** Containers and named read-write layers above it. */
  containers: string[];
  /** Layers right above it. */
  children: Digest[];
  /** Imported by itself, and not removed since. */
  isKept: boolean;
}

/** Who holds each of the layers. */
export function holders(storageRoot: string): Map<Digest, Holders> {
  const all = new Map<Digest, Holders>();
  const byCacheId = new Map<string, Digest>();
  for (const chainId of chainIds(storageRoot)) {
    const isKept = existsSync(`${chainDir(storageRoot, hexOf(chainId))}/keep`);
    all.set(chainId, { images: [], containers: [], children: [], isKept });
    const layer = readLayer(storageRoot, chainId);
    if (layer !== undefined) byCacheId.set(layer.cacheId, chainId);
  }
  for (const chainId of all.keys()) {
    const parent = readLayer(storageRoot, chainId)?.parent;
    if (parent !== undefined) all.get(parent)?.children.push(chainId);
  }
  for (const id of imageIds(storageRoot)) {
    for (const chainId of chainsOfImage(storageRoot, id)) all.get(chainId)?.images.push(id);
  }
  for (const [mountId, user] of users(storageRoot)) {
    for (const cacheId of cacheIdsBelow(storageRoot, mountId)) {
      const chainId = byCacheId.get(cacheId);
      if (chainId !== undefined && !all.get(chainId)?.containers.includes(user))
        all.get(chainId)?.containers.push(user);
    }
  }
  return all;
}

/** Chain IDs of an image, lowest first; none when its config is damaged. */
export function chainsOfImage(storageRoot: string, id: Digest): Digest[] {
  try {
    return chainIdsOf(readImage(storageRoot, id).config.rootfs.diff_ids);
  } catch {
    return []; // `check` reports it
  }
}

/** Read-write layers by mount id, and what their container is called. Named ones hold layers without a container, too. */
export function users(storageRoot: string): Map<string, string> {
  const found = new Map<string, string>();
  const overlay = overlayDir(storageRoot);
  for (const name of existsSync(overlay) ? readdirSync(overlay) : [])
    if (isNamed(name) && isMountId(name)) found.set(name, name);
  const mounts = mountsDir(storageRoot);
  for (const container of existsSync(mounts) ? readdirSync(mounts) : []) {
    const mountId = readText(`${mounts}/${container}/mount-id`)?.trim();
    if (mountId !== undefined && isMountId(mountId)) found.set(mountId, container);
  }
  return found;
}

/** Directories in overlay2 that a read-write layer lies on, by their links. */
function cacheIdsBelow(storageRoot: string, mountId: string): Set<string> {
  const overlay = overlayDir(storageRoot);
  const found = new Set<string>();
  for (const id of [mountId, initId(mountId)]) {
    for (const lower of parseLower(readText(`${overlay}/${id}/lower`) ?? "")) {
      const target =
        "link" in lower ? linkTarget(`${overlay}/l/${lower.link}`) : lower.path.replace(`${overlay}/`, "../");
      const match = /^\.\.\/([^/]+)\/diff$/.exec(target);
      if (match !== null) found.add(match[1] as string);
    }
  }
  return found;
}

/** Where a link in l/ leads; "" when it is lost, or no link. */
export function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // `check` reports it
  }
}

/** Layers that no image, container or layer above needs, topmost first. */
export function unneededLayers(storageRoot: string): Digest[] {
  const all = holders(storageRoot);
  const needed = new Set<Digest>();
  for (const [chainId, { images, containers, isKept }] of all) {
    if (images.length + containers.length === 0 && !isKept) continue;
    for (let id: Digest | undefined = chainId; id !== undefined && !needed.has(id); ) {
      needed.add(id);
      id = readLayer(storageRoot, id)?.parent;
    }
  }
  const rest = [...all.keys()].filter((id) => !needed.has(id));
  return rest.sort((a, b) => depth(storageRoot, b) - depth(storageRoot, a));
}

function depth(storageRoot: string, chainId: Digest): number {
  let count = 0;
  for (let id: Digest | undefined = chainId; id !== undefined && count < 4096; count++)
    id = readLayer(storageRoot, id)?.parent;
  return count;
}

/** Directories in overlay2 that nothing knows: left by a tsrun that was killed. */
export function orphans(storageRoot: string): string[] {
  // Before what is known of them: a container that is being made of directories holds no lock, but has a record first.
  const names = readdirSync(overlayDir(storageRoot));
  const known = new Set<string>(["l"]);
  for (const chainId of chainIds(storageRoot)) {
    const layer = readLayer(storageRoot, chainId);
    if (layer !== undefined) known.add(layer.cacheId);
  }
  for (const mountId of users(storageRoot).keys()) known.add(mountId).add(initId(mountId));
  // And after it: one that was deleted meanwhile is gone as a whole.
  const isThere = (name: string) => existsSync(`${overlayDir(storageRoot)}/${name}`);
  return names.filter((name) => !known.has(name) && !name.startsWith(TEMPORARY) && isThere(name));
}

/** Names of an image. */
export function namesOf(storageRoot: string, id: Digest): string[] {
  return [...readNames(storageRoot)].filter(([, other]) => other === id).map(([name]) => name);
}
