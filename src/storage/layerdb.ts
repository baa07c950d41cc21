/**
 * The layers that the store has: image/overlay2/layerdb/sha256/<chain ID>/, in the shape that Docker gave it.
 *
 *   diff         diff ID: the digest of the uncompressed tar
 *   size         bytes of content
 *   cache-id     the directory in overlay2
 *   parent       chain ID of the layer below; the lowest layer has none
 *   skeleton.gz  the tar without the content of its files (tar/reader.ts), from which it is put together again
 *   blob         beside it, where that cannot be: the tar as it came
 *   tar-size     bytes of the tar
 *   keep         it was imported by itself and stays until it is removed
 */
import { TsrunError } from "../errors.ts";
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync } from "../sys/fs.ts";
import { randomBytes } from "../sys/random.ts";
import { removeTree } from "../sys/remove.ts";
import { type Digest, hexOf, isDigest } from "./digest.ts";
import { readText, unlinkQuiet, writeText } from "./files.ts";
import { chainDir, isFileName, overlayDir } from "./layout.ts";
import { formatLower, hex, isLinkName, LINK_LENGTH, type Lower, linkName, parseLower } from "./link.ts";
import { forgetProject, projectOf } from "./size-limit.ts";

export interface StoredLayer {
  chainId: Digest;
  diffId: Digest;
  parent?: Digest;
  cacheId: string;
  /** Bytes of content. */
  size: number;
}

export function layersDir(storageRoot: string): string {
  return `${storageRoot}/image/overlay2/layerdb/sha256`;
}

/** Layers being written: overlay2/<TEMPORARY><random>. */
export const TEMPORARY = "new-";

/** The layer, or undefined when the store has none of that chain ID, or a damaged record of one. */
export function readLayer(storageRoot: string, chainId: Digest): StoredLayer | undefined {
  const dir = chainDir(storageRoot, hexOf(chainId));
  const diffId = readText(`${dir}/diff`)?.trim();
  const cacheId = readText(`${dir}/cache-id`)?.trim();
  const parent = readText(`${dir}/parent`)?.trim();
  if (!isDigest(diffId) || cacheId === undefined || !isFileName(cacheId)) return undefined;
  if (parent !== undefined && !isDigest(parent)) return undefined;
  const size = Number(readText(`${dir}/size`) ?? 0);
  return { chainId, diffId, cacheId, size, ...(parent !== undefined && { parent }) };
}

export function hasLayer(storageRoot: string, chainId: Digest): boolean {
  return existsSync(`${chainDir(storageRoot, hexOf(chainId))}/cache-id`);
}

/** Chain IDs of all layers, damaged ones too. */
export function chainIds(storageRoot: string): Digest[] {
  const dir = layersDir(storageRoot);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .map((name) => `sha256:${name}`)
    .filter(isDigest)
    .sort();
}

/** A layer and those below it, lowest first. @throws TsrunError when one is missing */
export function chainOf(storageRoot: string, chainId: Digest): StoredLayer[] {
  const chain: StoredLayer[] = [];
  for (let next: Digest | undefined = chainId; next !== undefined; ) {
    const layer = readLayer(storageRoot, next);
    if (layer === undefined) {
      throw new TsrunError(`the store at ${storageRoot} has no layer ${next}`, {
        fix: "import the image again; `tsrun layer check` says what else is missing",
      });
    }
    chain.push(layer);
    if (chain.length > 4096) throw new TsrunError(`the layers below ${chainId} go round in a circle`);
    next = layer.parent;
  }
  return chain.reverse();
}

export function contentDir(storageRoot: string, { cacheId }: Pick<StoredLayer, "cacheId">): string {
  return `${overlayDir(storageRoot)}/${cacheId}/diff`;
}

/** What is to be registered: a directory overlay2/<temporary> with diff and skeleton.gz or blob beside it. */
export interface NewLayer {
  temporary: string;
  diffId: Digest;
  chainId: Digest;
  parent?: Digest | undefined;
  size: number;
}

/** In the directory of a layer that is not known yet: what becomes its record. */
const RECORD = "record";

/**
 * Writes all that a layer has besides its content: afterwards, and after syncfs(2), renames make it known. A record that was
 * renamed before its files were on disk would have empty ones after a power failure.
 *
 * @param pending prepared layers that are to be known first: its parent may be among them
 */
export function prepareLayer(storageRoot: string, layer: NewLayer, pending: readonly NewLayer[] = []): void {
  const random = randomBytes(32 + LINK_LENGTH);
  const home = `${overlayDir(storageRoot)}/${layer.temporary}`;
  const record = `${home}/${RECORD}`;
  mkdirSync(record, { mode: 0o700 });
  for (const name of ["skeleton.gz", "blob", "tar-size"]) {
    if (existsSync(`${home}/${name}`)) renameSync(`${home}/${name}`, `${record}/${name}`);
  }
  writeText(`${record}/diff`, layer.diffId);
  writeText(`${record}/size`, String(layer.size));
  writeText(`${record}/cache-id`, hex(random.subarray(0, 32)));
  writeText(`${home}/link`, linkName(random.subarray(32)));
  if (layer.parent === undefined) return;
  writeText(`${record}/parent`, layer.parent);
  writeText(`${home}/lower`, formatLower(pendingLowers(storageRoot, layer.parent, pending)));
}

function pendingLowers(storageRoot: string, parent: Digest, pending: readonly NewLayer[]): Lower[] {
  const own = pending.find(({ chainId }) => chainId === parent);
  // One that is being removed is missed by whoever makes the layer known.
  if (own === undefined) return hasLayer(storageRoot, parent) ? lowersOf(storageRoot, parent) : [];
  const home = `${overlayDir(storageRoot)}/${own.temporary}`;
  return [{ link: readText(`${home}/link`) ?? "" }, ...parseLower(readText(`${home}/lower`) ?? "")];
}

/**
 * Makes a prepared layer known. All of it must be on disk (syncfs), and the caller holds the lock of the store. The order
 * is that a kill at any point leaves nothing but what `gc` takes away: the content gets its name and its link, and the
 * record appears by rename.
 *
 * @returns false when the store had the layer already; the new one is removed then
 */
export function registerLayer(storageRoot: string, layer: NewLayer): boolean {
  const overlay = overlayDir(storageRoot);
  if (hasLayer(storageRoot, layer.chainId)) {
    removeTree(overlay, layer.temporary);
    return false;
  }
  const home = `${overlay}/${layer.temporary}`;
  const cacheId = readText(`${home}/${RECORD}/cache-id`);
  const link = readText(`${home}/link`);
  if (cacheId === undefined || link === undefined) throw new TsrunError(`${home} was not prepared`);
  if (layer.parent !== undefined) {
    // Somebody else's layer may have become the parent meanwhile, with another link.
    const lower = formatLower(lowersOf(storageRoot, layer.parent));
    if (readText(`${home}/lower`) !== lower) writeText(`${home}/lower`, lower);
  }
  removeTree(layersDir(storageRoot), hexOf(layer.chainId)); // a record without cache-id: of a removal that was killed
  renameSync(home, `${overlay}/${cacheId}`);
  symlinkSync(`../${cacheId}/diff`, `${overlay}/l/${link}`);
  renameSync(`${overlay}/${cacheId}/${RECORD}`, `${layersDir(storageRoot)}/${hexOf(layer.chainId)}`);
  // Docker's mark of a layer that has others on top.
  const below = layer.parent === undefined ? undefined : readLayer(storageRoot, layer.parent);
  if (below !== undefined) writeText(`${overlay}/${below.cacheId}/committed`, "");
  return true;
}

/** The layers from `chainId` down as a `lower` file names them. */
export function lowersOf(storageRoot: string, chainId: Digest): Lower[] {
  return chainOf(storageRoot, chainId)
    .reverse()
    .map(({ cacheId }) => {
      const link = linkOf(storageRoot, cacheId);
      return link === undefined ? { path: `${overlayDir(storageRoot)}/${cacheId}/diff` } : { link };
    });
}

export function linkOf(storageRoot: string, cacheId: string): string | undefined {
  const link = readText(`${overlayDir(storageRoot)}/${cacheId}/link`)?.trim();
  return link !== undefined && isLinkName(link) ? link : undefined;
}

/** Forgets a layer and removes it: the record first (by rename), so that a layer that is known is whole. */
export function removeLayerFiles(storageRoot: string, chainId: Digest): void {
  const dir = layersDir(storageRoot);
  const hexId = hexOf(chainId);
  const cacheId = readText(`${dir}/${hexId}/cache-id`)?.trim();
  const gone = `${TEMPORARY}${hexId}`;
  removeTree(dir, gone);
  if (existsSync(`${dir}/${hexId}`)) renameSync(`${dir}/${hexId}`, `${dir}/${gone}`);
  if (cacheId !== undefined && isFileName(cacheId)) removeContent(storageRoot, cacheId);
  removeTree(dir, gone);
}

/** Removes overlay2/<id> and its link. Its name changes first: what is half removed is nobody's layer. */
export function removeContent(storageRoot: string, cacheId: string): void {
  const overlay = overlayDir(storageRoot);
  const link = linkOf(storageRoot, cacheId);
  if (link !== undefined) unlinkQuiet(`${overlay}/l/${link}`);
  const limited = projectOf(`${overlay}/${cacheId}`);
  const gone = `${TEMPORARY}gone-${cacheId}`.slice(0, 200);
  if (!cacheId.startsWith(TEMPORARY) && existsSync(`${overlay}/${cacheId}`)) {
    removeTree(overlay, gone);
    renameSync(`${overlay}/${cacheId}`, `${overlay}/${gone}`);
    removeTree(overlay, gone);
  } else removeTree(overlay, cacheId);
  if (limited !== undefined) forgetProject(overlay, limited.project);
}
