/** `commit`: what a container has written becomes a layer, and an image with it. */
import { StateError } from "../errors.ts";
import type { StoreContext } from "./context.ts";
import { ChangedLayers } from "./diff.ts";
import { chainIdOf, chainIdsOf, type Digest, digestOf } from "./digest.ts";
import { type ContainerConfig, formatConfig, goTime, type HistoryEntry, type ImageConfig } from "./image-config.ts";
import { hostPlatform } from "./image-source.ts";
import { findImage, fullName, imageIds, readImage, readNames, writeImage, writeNames } from "./imagedb.ts";
import { chainOf, contentDir, hasLayer, prepareLayer, registerLayer } from "./layerdb.ts";
import { ensureStore, lockStore, syncStore, WorkDirectory } from "./store-lock.ts";
import { tarOf } from "./tar-stream.ts";
import { unpackStream } from "./unpack-layer.ts";
import { stackOf } from "./view.ts";

/** What the new image is called, and says of itself. */
export interface CommitOptions {
  /** Name of the new image. */
  name?: string | undefined;
  /** The image whose config is carried on; by default the one that the container's layers are. */
  image?: string | undefined;
  author?: string | undefined;
  message?: string | undefined;
  /** Fields of the config that are replaced. */
  config?: Partial<ContainerConfig> | undefined;
  /** Seconds since 1970 that no time in the image is later than, and that it is said to be made at: SOURCE_DATE_EPOCH. */
  epoch?: number | undefined;
}

/**
 * @throws StateError when the layers below are none of the store; TsrunError when a file changes while it is read
 */
export async function commitContainer(
  store: StoreContext,
  container: string,
  options: CommitOptions,
): Promise<{ id: Digest; chainId: Digest; diffId: Digest }> {
  const { storageRoot } = store;
  ensureStore(storageRoot);
  const name = options.name === undefined ? undefined : fullName(options.name);
  const stack = stackOf(storageRoot, container);
  const { parent } = stack;
  if (parent === undefined) {
    throw new StateError(`the layers below ${container} are no image of the store`, {
      fix: "`tsrun layer export` gives all of its root filesystem as a tar, which `tsrun image import` takes",
    });
  }
  const base = baseConfig(storageRoot, parent, options.image);
  using work = new WorkDirectory(storageRoot);
  using layers = new ChangedLayers(stack, store.space);
  const unmap = { idMap: store.idMap ?? stack.idMap, epoch: options.epoch };
  const chain = chainOf(storageRoot, parent);
  const lowers = [...chain].reverse().map((layer) => contentDir(storageRoot, layer));
  const { diffId, size } = await unpackStream(store, tarOf(layers.entries(unmap)), work, lowers);
  const chainId = chainIdOf(parent, diffId);
  const text = formatConfig(
    newConfig(
      base,
      chain.map((layer) => layer.diffId),
      diffId,
      options,
    ),
  );
  const layer = { temporary: work.name, diffId, chainId, parent, size };
  prepareLayer(storageRoot, layer);
  syncStore(storageRoot);
  {
    using _lock = lockStore(storageRoot);
    if (!hasLayer(storageRoot, parent)) throw new StateError(`layer ${parent} has been removed meanwhile`);
    registerLayer(storageRoot, layer);
    work.keep();
    const id = writeImage(storageRoot, text);
    if (name !== undefined) writeNames(storageRoot, readNames(storageRoot).set(name, id));
  }
  syncStore(storageRoot);
  return { id: digestOf(text), chainId, diffId };
}

/** The config that is carried on, or a bare one where there is no image of exactly these layers. */
function baseConfig(storageRoot: string, parent: Digest, image: string | undefined): ImageConfig {
  if (image !== undefined) return readImage(storageRoot, findImage(storageRoot, image)).config;
  const names = readNames(storageRoot);
  const named = new Set(names.values());
  const same = imageIds(storageRoot).filter(
    (id) => chainIdsOf(readImage(storageRoot, id).config.rootfs.diff_ids).at(-1) === parent,
  );
  const id = same.find((candidate) => named.has(candidate)) ?? same[0];
  if (id !== undefined) return readImage(storageRoot, id).config;
  return { ...hostPlatform(), rootfs: { type: "layers", diff_ids: [] } };
}

function newConfig(base: ImageConfig, below: readonly Digest[], diffId: Digest, options: CommitOptions): ImageConfig {
  const created = goTime(options.epoch === undefined ? Date.now() : options.epoch * 1000);
  const line: HistoryEntry = {
    created,
    created_by: "tsrun image commit",
    ...(options.author !== undefined && { author: options.author }),
    ...(options.message !== undefined && { comment: options.message }),
  };
  const isBase = base.rootfs.diff_ids.length === below.length && base.rootfs.diff_ids.every((id, i) => id === below[i]);
  const before = isBase ? (base.history ?? []) : [];
  // A history must have a line for each layer, or none at all.
  const lines =
    before.filter((entry) => !entry.empty_layer).length === below.length
      ? before
      : below.map(() => ({ created_by: "unknown" }));
  return {
    ...base,
    created,
    ...(options.author !== undefined && { author: options.author }),
    config: { ...base.config, ...options.config },
    rootfs: { type: "layers", diff_ids: [...below, diffId] },
    history: [...lines, line],
  };
}
