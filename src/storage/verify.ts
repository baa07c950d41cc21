/** `layer check`: holds the store to what it says of itself. */
import { isErrno } from "../errors.ts";
import { existsSync, lstatSync, readFileSync, symlinkSync } from "../sys/fs.ts";
import { randomBytes } from "../sys/random.ts";
import { layerTar } from "./assemble.ts";
import { chainIdOf, chainIdsOf, type Digest } from "./digest.ts";
import { unlinkQuiet, writeText } from "./files.ts";
import { imageIds, readImage, readNames, removeImageConfig, writeNames } from "./imagedb.ts";
import { chainIds, contentDir, linkOf, lowersOf, readLayer, removeLayerFiles } from "./layerdb.ts";
import { overlayDir } from "./layout.ts";
import { formatLower, LINK_LENGTH, linkName } from "./link.ts";
import { holders, orphans } from "./references.ts";
import { ensureStore, lockStore, syncStore } from "./store-lock.ts";

/** Something of the store that is not as it was written. */
export interface Fault {
  /** "layer sha256:…", "image sha256:…", "name web:latest", "overlay2/…" */
  where: string;
  what: string;
  /** What --repair does, or has done, about it. */
  repair: string;
  isRepaired: boolean;
}

/** How thoroughly to look, and whether to mend. */
export interface CheckOptions {
  repair?: boolean | undefined;
  /** Leave out reading every byte of every layer. */
  quick?: boolean | undefined;
  onLayer?: ((done: number, total: number, chainId: Digest) => void) | undefined;
}

/**
 * Verifies layers against their digests, links, images and names.
 *
 * Repairs what can be made again (links, `lower`); what is lost is removed with all that needs it, but for layers
 * that a container has.
 */
export async function checkStore(
  storageRoot: string,
  { repair = false, quick = false, onLayer }: CheckOptions = {},
): Promise<Fault[]> {
  ensureStore(storageRoot);
  const faults: Fault[] = [];
  const ids = chainIds(storageRoot);
  const broken = new Map<Digest, string>();
  for (const [i, chainId] of ids.entries()) {
    onLayer?.(i, ids.length, chainId);
    const problem = await layerProblem(storageRoot, chainId, quick);
    if (problem !== undefined) broken.set(chainId, problem);
    else linkFaults(storageRoot, chainId, repair, faults);
  }
  using _lock = lockStore(storageRoot);
  // What somebody has removed meanwhile is no fault.
  const still = new Set(chainIds(storageRoot));
  for (const id of broken.keys()) if (!still.has(id)) broken.delete(id);
  spread(storageRoot, broken);
  const held = holders(storageRoot);
  const badImages = imageFaults(storageRoot, broken, repair, faults);
  for (const [chainId, what] of broken) {
    const containers = held.get(chainId)?.containers ?? [];
    const isUsed = containers.length > 0;
    if (repair && !isUsed) removeLayerFiles(storageRoot, chainId);
    const action = isUsed ? `delete ${containers.join(", ")} first` : "removed";
    faults.push({ where: `layer ${chainId}`, what, repair: action, isRepaired: repair && !isUsed });
  }
  nameFaults(storageRoot, badImages, repair, faults);
  for (const name of orphans(storageRoot))
    faults.push({ where: `overlay2/${name}`, what: "nothing knows it", repair: "tsrun layer gc", isRepaired: false });
  if (repair) syncStore(storageRoot);
  return faults;
}

async function layerProblem(storageRoot: string, chainId: Digest, quick: boolean): Promise<string | undefined> {
  const layer = readLayer(storageRoot, chainId);
  if (layer === undefined) return "its record is damaged";
  if (chainIdOf(layer.parent, layer.diffId) !== chainId) return "its chain ID is not that of its parent and diff ID";
  if (layer.parent !== undefined && readLayer(storageRoot, layer.parent) === undefined)
    return `its parent ${layer.parent} is lost`;
  if (lstatSync(contentDir(storageRoot, layer))?.isDirectory() !== true) return "its content is lost";
  if (quick) return undefined;
  try {
    for await (const _ of layerTar(storageRoot, layer));
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^layer \S+ is damaged: /, "") : String(error);
  }
  return undefined;
}

function linkFaults(storageRoot: string, chainId: Digest, repair: boolean, faults: Fault[]): void {
  const layer = readLayer(storageRoot, chainId);
  if (layer === undefined) return;
  const overlay = overlayDir(storageRoot);
  const where = `layer ${chainId}`;
  let link = linkOf(storageRoot, layer.cacheId);
  if (link === undefined) {
    if (repair) {
      link = linkName(randomBytes(LINK_LENGTH));
      writeText(`${overlay}/${layer.cacheId}/link`, link);
    }
    faults.push({ where, what: "the name of its link is lost", repair: "a new one", isRepaired: repair });
  }
  if (link !== undefined && !existsSync(`${overlay}/l/${link}`)) {
    if (repair) {
      unlinkQuiet(`${overlay}/l/${link}`);
      symlinkSync(`../${layer.cacheId}/diff`, `${overlay}/l/${link}`);
    }
    faults.push({ where, what: "its link in l/ is lost", repair: "made again", isRepaired: repair });
  }
  if (layer.parent === undefined || existsSync(`${overlay}/${layer.cacheId}/lower`)) return;
  if (repair) writeText(`${overlay}/${layer.cacheId}/lower`, formatLower(lowersOf(storageRoot, layer.parent)));
  faults.push({ where, what: "its `lower` is lost", repair: "written again", isRepaired: repair });
}

/** What lies on a broken layer is no use either. */
function spread(storageRoot: string, broken: Map<Digest, string>): void {
  for (let found = true; found; ) {
    found = false;
    for (const chainId of chainIds(storageRoot)) {
      const parent = readLayer(storageRoot, chainId)?.parent;
      if (broken.has(chainId) || parent === undefined || !broken.has(parent)) continue;
      broken.set(chainId, `it lies on ${parent}, which is damaged`);
      found = true;
    }
  }
}

function imageFaults(storageRoot: string, broken: Map<Digest, string>, repair: boolean, faults: Fault[]): Set<Digest> {
  const bad = new Set<Digest>();
  const known = new Set(chainIds(storageRoot));
  for (const id of imageIds(storageRoot)) {
    const what = imageProblem(storageRoot, id, known, broken);
    if (what === undefined) continue;
    bad.add(id);
    if (repair) removeImageConfig(storageRoot, id);
    faults.push({ where: `image ${id}`, what, repair: "removed", isRepaired: repair });
  }
  return bad;
}

function imageProblem(
  storageRoot: string,
  id: Digest,
  known: Set<Digest>,
  broken: Map<Digest, string>,
): string | undefined {
  try {
    const chain = chainIdsOf(readImage(storageRoot, id).config.rootfs.diff_ids);
    const lost = chain.find((chainId) => !known.has(chainId) || broken.has(chainId));
    return lost === undefined ? undefined : `its layer ${lost} is ${known.has(lost) ? "damaged" : "lost"}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function nameFaults(storageRoot: string, badImages: Set<Digest>, repair: boolean, faults: Fault[]): void {
  const path = `${storageRoot}/image/overlay2/repositories.json`;
  try {
    if (existsSync(path)) JSON.parse(readFileSync(path));
  } catch (error) {
    if (isErrno(error, "EACCES")) throw error;
    if (repair) writeNames(storageRoot, new Map());
    faults.push({
      where: "repositories.json",
      what: "it is damaged",
      repair: "written anew, without names",
      isRepaired: repair,
    });
    if (!repair) return;
  }
  const names = readNames(storageRoot);
  const images = new Set(imageIds(storageRoot));
  let changed = false;
  for (const [name, id] of names) {
    if (images.has(id) && !badImages.has(id)) continue;
    names.delete(name);
    changed = true;
    faults.push({ where: `name ${name}`, what: `its image ${id} is lost`, repair: "removed", isRepaired: repair });
  }
  if (changed && repair) writeNames(storageRoot, names);
}
