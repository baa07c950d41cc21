/** Brings images and layers into the store. Nothing can be seen of one before all of it is there and verified. */
import { TsrunError } from "../errors.ts";
import type { StoreContext } from "./context.ts";
import { chainIdOf, chainIdsOf, type Digest, digestOf, hexOf } from "./digest.ts";
import { writeText } from "./files.ts";
import type { ImageConfig } from "./image-config.ts";
import { formatConfig, parseConfig } from "./image-config.ts";
import { namesFor } from "./image-names.ts";
import { type Blob, hostPlatform, openSource, type Platform, type SourceImage } from "./image-source.ts";
import { fullName, readNames, writeImage, writeNames } from "./imagedb.ts";
import { addBlob } from "./layer-blob.ts";
import { chainOf, contentDir, hasLayer, type NewLayer, prepareLayer, registerLayer } from "./layerdb.ts";
import { chainDir } from "./layout.ts";
import { ensureStore, lockStore, syncStore, WorkDirectory } from "./store-lock.ts";
import { unpackLayer } from "./unpack-layer.ts";

/** Where a long import is. */
export interface Progress {
  /** Which layer, from 0 on, of how many. */
  layer: number;
  layers: number;
  digest: Digest;
  /** Bytes of the source read so far, of how many. `isThere`: the store had the layer already. */
  done: number;
  total: number;
  isThere: boolean;
}

/** What of a source to import, and under which name. */
export interface ImportOptions {
  /** The name of the image, with or without a tag; in place of what the source calls it. */
  name?: string | undefined;
  /** Only the image of this name or tag. */
  reference?: string | undefined;
  platform: Platform | "all";
  /** Keep layers as they came, too, so that `save` gives them back with the same digests. */
  keepBlobs?: boolean | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  onWarning?: ((message: string) => void) | undefined;
}

/** An image that is in the store now. */
export interface ImportedImage {
  id: Digest;
  names: string[];
  platform: string;
  chainId: Digest | undefined;
}

/**
 * Imports an OCI image layout, an archive of `docker save`, or the tar of a root filesystem.
 *
 * @param path a directory or a file; "-" is standard input
 */
export async function importImage(store: StoreContext, path: string, options: ImportOptions): Promise<ImportedImage[]> {
  ensureStore(store.storageRoot);
  if (options.name !== undefined) fullName(options.name);
  using spool = new WorkDirectory(store.storageRoot);
  using source = await openSource(path, spool.path);
  if (source.kind === "rootfs") return [await importRootfs(store, source.whole(), options)];
  const images = source.images(options);
  if (options.name !== undefined && images.length > 1) {
    throw new TsrunError(`${path} has ${images.length} images, which cannot all be named ${options.name}`, {
      fix: "choose one with --reference and --platform, or leave the name out",
    });
  }
  const imported: ImportedImage[] = [];
  for (const image of images) imported.push(await importOne(store, image, namesFor(image, path, options), options));
  return imported;
}

async function importOne(
  store: StoreContext,
  image: SourceImage,
  names: string[],
  options: ImportOptions,
): Promise<ImportedImage> {
  const { configText, layers } = image;
  const what = names[0] ?? digestOf(configText);
  const config = parseConfig(configText, what);
  const diffIds = config.rootfs.diff_ids;
  if (layers.length !== diffIds.length)
    throw new TsrunError(`${what} has ${layers.length} layers, and ${diffIds.length} diff_ids in its config`);
  const chain = chainIdsOf(diffIds);
  // A layer that was there may be taken away by somebody else until all are: then it is read after all.
  for (let attempt = 0; ; attempt++) {
    const made = await makeLayers(store, layers, diffIds, chain, options);
    try {
      const manifest = options.keepBlobs ? image.manifestText : undefined;
      if (publish(store.storageRoot, made, chain, { configText, manifest }, names)) {
        const id = digestOf(configText);
        return { id, names, platform: image.platform, chainId: chain.at(-1) };
      }
    } finally {
      for (const { work } of made) work[Symbol.dispose]();
    }
    if (attempt === 8) throw new TsrunError(`${what}: its layers are removed as fast as they come`);
  }
}

interface MadeLayer {
  work: WorkDirectory;
  layer: NewLayer;
}

async function makeLayers(
  store: StoreContext,
  blobs: readonly Blob[],
  diffIds: readonly Digest[],
  chain: readonly Digest[],
  options: ImportOptions,
): Promise<MadeLayer[]> {
  const made: MadeLayer[] = [];
  const lowers: string[] = [];
  try {
    for (let i = 0; i < blobs.length; i++) {
      const blob = blobs[i] as Blob;
      const [diffId, chainId, parent] = [diffIds[i] as Digest, chain[i] as Digest, chain[i - 1]];
      const at = { layer: i, layers: blobs.length, digest: diffId, total: blob.size };
      if (hasLayer(store.storageRoot, chainId)) {
        if (options.keepBlobs) await addBlob(store.storageRoot, { chainId, diffId }, blob);
        options.onProgress?.({ ...at, done: blob.size, isThere: true });
        lowers.unshift(
          contentDir(store.storageRoot, chainOf(store.storageRoot, chainId).at(-1) as { cacheId: string }),
        );
        continue;
      }
      const work = new WorkDirectory(store.storageRoot);
      const layer: NewLayer = { temporary: work.name, diffId, chainId, parent, size: 0 };
      made.push({ work, layer });
      const result = await unpackLayer(store, blob, work, lowers, {
        onBytes: (done) => options.onProgress?.({ ...at, done, isThere: false }),
        onWarning: options.onWarning,
        keepBlobs: options.keepBlobs,
      });
      if (result.diffId !== diffId)
        throw new TsrunError(
          `layer ${i + 1}: its content has the diff ID ${result.diffId}, and the config says ${diffId}`,
        );
      layer.size = result.size;
      prepareLayer(
        store.storageRoot,
        layer,
        made.map(({ layer }) => layer),
      );
      lowers.unshift(`${work.path}/diff`);
    }
    return made;
  } catch (error) {
    for (const { work } of made) work[Symbol.dispose]();
    throw error;
  }
}

/** Makes layers, image and names known, all in one go. @returns false when a layer that was there has gone meanwhile */
function publish(
  storageRoot: string,
  made: readonly MadeLayer[],
  chain: readonly Digest[],
  { configText, manifest }: { configText: string; manifest?: string | undefined },
  names: readonly string[],
): boolean {
  if (made.length > 0) syncStore(storageRoot);
  {
    using _lock = lockStore(storageRoot);
    const fresh = new Set(made.map(({ layer }) => layer.chainId));
    if (!chain.every((id) => fresh.has(id) || hasLayer(storageRoot, id))) return false;
    for (const { work, layer } of made) {
      registerLayer(storageRoot, layer);
      work.keep();
    }
    const id = writeImage(storageRoot, configText, manifest);
    if (names.length > 0) {
      const all = readNames(storageRoot);
      for (const name of names) all.set(name, id);
      writeNames(storageRoot, all);
    }
  }
  syncStore(storageRoot);
  return true;
}

/** A layer of its own, on top of `parent` or of nothing. Kept until it is removed by its chain ID. */
export async function importLayer(
  store: StoreContext,
  path: string,
  parent: Digest | undefined,
  { onProgress, onWarning }: Pick<ImportOptions, "onProgress" | "onWarning"> = {},
): Promise<{ diffId: Digest; chainId: Digest; size: number }> {
  ensureStore(store.storageRoot);
  using spool = new WorkDirectory(store.storageRoot);
  using source = await openSource(path, spool.path, { isTar: true });
  const blob = source.whole();
  const { made, diffId, chainId, size } = await singleLayer(store, blob, parent, { onProgress, onWarning });
  using work = made.work;
  syncStore(store.storageRoot);
  {
    using _lock = lockStore(store.storageRoot);
    registerLayer(store.storageRoot, made.layer);
    work.keep();
    writeText(`${chainDir(store.storageRoot, hexOf(chainId))}/keep`, "1");
  }
  syncStore(store.storageRoot);
  return { diffId, chainId, size };
}

async function singleLayer(
  store: StoreContext,
  blob: Blob,
  parent: Digest | undefined,
  { onProgress, onWarning }: Pick<ImportOptions, "onProgress" | "onWarning">,
) {
  const lowers =
    parent === undefined
      ? []
      : chainOf(store.storageRoot, parent)
          .reverse()
          .map((layer) => contentDir(store.storageRoot, layer));
  const work = new WorkDirectory(store.storageRoot);
  try {
    const at = { layer: 0, layers: 1, digest: "", total: blob.size, isThere: false };
    const { diffId, size } = await unpackLayer(store, blob, work, lowers, {
      onBytes: (done) => onProgress?.({ ...at, done }),
      onWarning,
    });
    const chainId = chainIdOf(parent, diffId);
    const layer = { temporary: work.name, diffId, chainId, parent, size };
    prepareLayer(store.storageRoot, layer);
    return { made: { work, layer }, diffId, chainId, size };
  } catch (error) {
    work[Symbol.dispose]();
    throw error;
  }
}

/** The tar of a root filesystem as an image of one layer. */
async function importRootfs(store: StoreContext, blob: Blob, options: ImportOptions): Promise<ImportedImage> {
  if (options.name === undefined) {
    throw new TsrunError(`${blob.path} is the tar of a root filesystem, which has no name`, {
      fix: "tsrun image import TAR NAME[:TAG]",
    });
  }
  const platform = options.platform === "all" ? hostPlatform() : options.platform;
  const { made, diffId, chainId } = await singleLayer(store, blob, undefined, options);
  using _work = made.work;
  const config: ImageConfig = {
    ...platform,
    config: {},
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{ created_by: `tsrun image import`, comment: "imported from a tar" }],
  };
  const names = [fullName(options.name)];
  const text = formatConfig(config);
  publish(store.storageRoot, [made], [chainId], { configText: text }, names);
  return { id: digestOf(text), names, platform: `${platform.os}/${platform.architecture}`, chainId };
}
