/** Takes away what nobody needs: layers, leftovers, images by name. */
import { StateError } from "../errors.ts";
import { existsSync, lstatSync, readdirSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { removeBundles } from "./bundles.ts";
import { type Digest, hexOf } from "./digest.ts";
import { unlinkQuiet } from "./files.ts";
import { findImage, fullName, imageIds, readNames, removeImageConfig, writeNames } from "./imagedb.ts";
import { hasLayer, linkOf, readLayer, removeContent, removeLayerFiles } from "./layerdb.ts";
import { chainDir, isNamed, layerName, overlayDir } from "./layout.ts";
import { COPIES } from "./mapped-copies.ts";
import { chainsOfImage, holders, linkTarget, namesOf, orphans, unneededLayers, users } from "./references.ts";
import { ensureStore, lockStore, sweep, syncStore } from "./store-lock.ts";
import { sweepTrials } from "./trial.ts";
import { stackOf } from "./view.ts";

/** What was removed as nobody needed it. */
export interface Collected {
  layers: Digest[];
  /** Directories and links that a killed tsrun has left. */
  leftovers: number;
}

/** Removes layers that no image and no container needs, and what killed ones have left. */
export function collectGarbage(storageRoot: string): Collected {
  ensureStore(storageRoot);
  using _lock = lockStore(storageRoot);
  return collect(storageRoot);
}

function collect(storageRoot: string): Collected {
  const layers = unneededLayers(storageRoot);
  for (const chainId of layers) removeLayerFiles(storageRoot, chainId);
  let leftovers =
    sweep(storageRoot) + removeCopies(storageRoot) + removeBundles(storageRoot) + sweepTrials(storageRoot);
  for (const name of orphans(storageRoot)) {
    removeContent(storageRoot, name);
    leftovers++;
  }
  leftovers += removeDeadLinks(storageRoot);
  return { layers, leftovers };
}

/** Copies of layers with the ids of user namespaces, but for layers that a container is on. */
function removeCopies(storageRoot: string): number {
  let count = 0;
  for (const [chainId, { containers }] of holders(storageRoot)) {
    const cacheId = readLayer(storageRoot, chainId)?.cacheId;
    if (cacheId === undefined || containers.length > 0) continue;
    const home = `${overlayDir(storageRoot)}/${cacheId}`;
    if (!existsSync(`${home}/${COPIES}`)) continue;
    removeTree(home, COPIES);
    count++;
  }
  return count;
}

/** Links in l/ whose layer is gone, and what is no link. */
function removeDeadLinks(storageRoot: string): number {
  const overlay = overlayDir(storageRoot);
  let count = 0;
  for (const link of readdirSync(`${overlay}/l`)) {
    const id = /^\.\.\/([^/]+)\/diff$/.exec(linkTarget(`${overlay}/l/${link}`))?.[1];
    // Its name is written down before the link is made.
    if (id !== undefined && linkOf(storageRoot, id) === link) continue;
    if (lstatSync(`${overlay}/l/${link}`) === undefined) continue; // its container was deleted meanwhile
    removeTree(`${overlay}/l`, link);
    count++;
  }
  return count;
}

/** What went with a name. */
export interface RemovedImage {
  untagged: string[];
  /** Set when the image itself went. */
  id?: Digest;
  layers: Digest[];
}

/**
 * Takes a name away, and with the last one the image and the layers that nobody else needs.
 *
 * @param reference a name, or an id: then all its names go
 * @throws StateError when an id has several names and `force` is not set; when a container has it, and `force` is not
 *   set (its layers stay in any case)
 */
export function removeImage(storageRoot: string, reference: string, { force = false } = {}): RemovedImage {
  ensureStore(storageRoot);
  using _lock = lockStore(storageRoot);
  const id = findImage(storageRoot, reference);
  const names = readNames(storageRoot);
  const own = namesOf(storageRoot, id);
  const byName = nameIn(reference, own);
  if (byName === undefined && own.length > 1 && !force) {
    throw new StateError(`image ${id} has ${own.length} names: ${own.join(", ")}`, {
      fix: "remove it by name, or use --force",
    });
  }
  const going = byName === undefined ? own : [byName];
  if (going.length === own.length && !force) refuseIfUsed(storageRoot, id);
  for (const name of going) names.delete(name);
  // The names first: one that leads nowhere would be an error everywhere.
  writeNames(storageRoot, names);
  if (going.length < own.length) return { untagged: going, layers: [] };
  removeImageConfig(storageRoot, id);
  const { layers } = collect(storageRoot);
  syncStore(storageRoot);
  return { untagged: going, id, layers };
}

function nameIn(reference: string, names: readonly string[]): string | undefined {
  try {
    const name = fullName(reference);
    return names.includes(name) ? name : undefined;
  } catch {
    return undefined; // an id with "sha256:" may not be a name
  }
}

/** A container is of an image when it lies right on its topmost layer, and no other image has the same. */
function refuseIfUsed(storageRoot: string, id: Digest): void {
  const top = topOf(storageRoot, id);
  if (top === undefined || imageIds(storageRoot).some((other) => other !== id && topOf(storageRoot, other) === top))
    return;
  const containers = [...users(storageRoot).values()].filter((name) => parentOf(storageRoot, name) === top);
  if (containers.length === 0) return;
  const named = containers.filter(isNamed).map((layer) => `tsrun container remove ${layerName(layer)}`);
  const first = [...named, ...(containers.length > named.length ? ["delete these containers"] : [])].join(", ");
  throw new StateError(`image ${id} is used by ${containers.join(", ")}`, {
    fix: `${first} first, or use --force: their layers stay until then`,
  });
}

function topOf(storageRoot: string, id: Digest): Digest | undefined {
  return chainsOfImage(storageRoot, id).at(-1);
}

function parentOf(storageRoot: string, container: string): Digest | undefined {
  try {
    return stackOf(storageRoot, isNamed(container) ? layerName(container) : container).parent;
  } catch {
    return undefined; // one that is being made, or was left by a kill
  }
}

/** Removes a layer that was imported by itself. @throws StateError naming who needs it */
export function removeLayer(storageRoot: string, chainId: Digest): void {
  ensureStore(storageRoot);
  using _lock = lockStore(storageRoot);
  if (!hasLayer(storageRoot, chainId)) throw new StateError(`the store at ${storageRoot} has no layer ${chainId}`);
  const held = holders(storageRoot).get(chainId);
  const needing = [...(held?.images ?? []), ...(held?.containers ?? []), ...(held?.children ?? [])];
  if (needing.length > 0) throw new StateError(`layer ${chainId} is needed by ${needing.join(", ")}`);
  unlinkQuiet(`${chainDir(storageRoot, hexOf(chainId))}/keep`);
  removeLayerFiles(storageRoot, chainId);
  syncStore(storageRoot);
}

/** Gives an image one more name; the name leaves the image that had it. */
export function tagImage(storageRoot: string, reference: string, name: string): { id: Digest; name: string } {
  ensureStore(storageRoot);
  using _lock = lockStore(storageRoot);
  const id = findImage(storageRoot, reference);
  const full = fullName(name);
  const names = readNames(storageRoot);
  names.set(full, id);
  writeNames(storageRoot, names);
  return { id, name: full };
}
