/** What is in the store, for lists and sums. */
import { StateError, TsrunError } from "../errors.ts";
import { chainIdsOf, type Digest, hexOf } from "./digest.ts";
import type { HistoryEntry, ImageConfig } from "./image-config.ts";
import { findImage, imageIds, readImage } from "./imagedb.ts";
import { chainIds, chainOf, readLayer, type StoredLayer } from "./layerdb.ts";
import { type Holders, holders, namesOf } from "./references.ts";
import { type RwLayerRow, rwLayers } from "./rw-layers.ts";

/** An image and what it takes. */
export interface ImageRow {
  id: Digest;
  names: string[];
  platform: string;
  created: string;
  layers: Digest[];
  /** Bytes of content, all layers together. */
  size: number;
  /** The part of it that no other image has. */
  unique: number;
}

/** A layer and who needs it. */
export interface LayerRow extends StoredLayer {
  images: string[];
  containers: string[];
  children: Digest[];
}

/** One change of a container: added, changed or deleted, as `docker diff` says it. */
export interface ChangedPath {
  kind: "A" | "C" | "D";
  path: string;
}

/** What one layer has at a path; the uppermost first. */
export interface OriginRow {
  /** A layer's chain ID, its directory where it is none of the store, "init" or "read-write". */
  layer: string;
  what: string;
  isVisible: boolean;
}

/** What a store takes. */
export interface StoreUsage {
  images: ImageRow[];
  rwLayers: RwLayerRow[];
  /** Each layer counted once. */
  layers: { count: number; size: number; unneeded: number };
}

export function images(storageRoot: string): ImageRow[] {
  const all = holders(storageRoot);
  return imageIds(storageRoot).map((id) => {
    const { config } = readImage(storageRoot, id);
    const layers = chainIdsOf(config.rootfs.diff_ids);
    const { size, unique } = sizes(storageRoot, layers, all);
    const platform = [config.os, config.architecture, config.variant].filter(Boolean).join("/");
    return { id, names: namesOf(storageRoot, id), platform, created: config.created ?? "", layers, size, unique };
  });
}

function sizes(storageRoot: string, layers: readonly Digest[], all: Map<Digest, Holders>) {
  let size = 0;
  let unique = 0;
  for (const chainId of layers) {
    const bytes = readLayer(storageRoot, chainId)?.size ?? 0;
    size += bytes;
    if (new Set(all.get(chainId)?.images).size <= 1) unique += bytes;
  }
  return { size, unique };
}

export function image(storageRoot: string, reference: string) {
  const id = findImage(storageRoot, reference);
  const { text, config } = readImage(storageRoot, id);
  return { id, text, config, names: namesOf(storageRoot, id), layers: chainIdsOf(config.rootfs.diff_ids) };
}

/** What the config tells of how it was made, lowest first, with the layer that each line made. */
export function history(storageRoot: string, reference: string): (HistoryEntry & { layer?: Digest; size: number })[] {
  const { config, layers } = image(storageRoot, reference);
  const lines = historyOf(config);
  let next = 0;
  return lines.map((line) => {
    if (line.empty_layer) return { ...line, size: 0 };
    const layer = layers[next++];
    return layer === undefined
      ? { ...line, size: 0 }
      : { ...line, layer, size: readLayer(storageRoot, layer)?.size ?? 0 };
  });
}

/** A config may have no history, or one that is not about all its layers. */
function historyOf({ history = [], rootfs }: ImageConfig): HistoryEntry[] {
  const lines = history ?? [];
  const missing = rootfs.diff_ids.length - lines.filter((line) => !line.empty_layer).length;
  return [...lines, ...Array.from({ length: Math.max(0, missing) }, () => ({}))];
}

export function layers(storageRoot: string): LayerRow[] {
  const all = holders(storageRoot);
  return chainIds(storageRoot).flatMap((chainId) => {
    const layer = readLayer(storageRoot, chainId);
    const held = all.get(chainId);
    if (layer === undefined || held === undefined) return [];
    const names = held.images.map((id) => namesOf(storageRoot, id)[0] ?? id);
    return [{ ...layer, images: names, containers: held.containers, children: held.children }];
  });
}

/** The chain ID that is meant by one, or by its beginning. */
export function findLayerId(storageRoot: string, text: string): Digest {
  const digits = text.startsWith("sha256:") ? text.slice(7) : text;
  const found = /^[0-9a-f]{4,64}$/.test(digits)
    ? chainIds(storageRoot).filter((id) => hexOf(id).startsWith(digits))
    : [];
  if (found.length === 1) return found[0] as Digest;
  if (found.length > 1) throw new StateError(`${text} is the beginning of ${found.length} chain IDs`);
  throw new StateError(`the store at ${storageRoot} has no layer ${JSON.stringify(text)}`, {
    fix: "`tsrun layer list` prints those it has",
  });
}

export function layerOf(storageRoot: string, chainId: Digest): StoredLayer {
  const layer = readLayer(storageRoot, chainId);
  if (layer === undefined)
    throw new TsrunError(`the record of layer ${chainId} is damaged`, { fix: "tsrun layer check --repair" });
  return layer;
}

export function usage(storageRoot: string): StoreUsage {
  const all = holders(storageRoot);
  let size = 0;
  let unneeded = 0;
  const needed = new Set<Digest>();
  for (const [chainId, held] of all) {
    if (held.images.length + held.containers.length > 0 || held.isKept)
      for (const layer of safeChain(storageRoot, chainId)) needed.add(layer.chainId);
  }
  for (const chainId of all.keys()) {
    const bytes = readLayer(storageRoot, chainId)?.size ?? 0;
    size += bytes;
    if (!needed.has(chainId)) unneeded += bytes;
  }
  return { images: images(storageRoot), rwLayers: rwLayers(storageRoot), layers: { count: all.size, size, unneeded } };
}

function safeChain(storageRoot: string, chainId: Digest): StoredLayer[] {
  try {
    return chainOf(storageRoot, chainId);
  } catch {
    return []; // a lost parent, which `check` reports
  }
}
