/**
 * The store of layers and images, for programs. Each method loads what it needs when it is called: a program that only
 * runs containers does not carry any of it.
 */

import type { CommitOptions } from "./commit.ts";
import type { StoreContext } from "./context.ts";
import type { Collected, RemovedImage } from "./gc.ts";
import type { IdMap } from "./id-map.ts";
import type { HistoryEntry, ImageConfig } from "./image-config.ts";
import type { Platform } from "./image-source.ts";
import type { ImportedImage, ImportOptions, Progress } from "./import.ts";
import type { ChangedPath, ImageRow, LayerRow, OriginRow, StoreUsage } from "./inspect.ts";
import { storageRoot } from "./location.ts";
import type { RwLayerRow } from "./rw-layers.ts";
import type { SaveOptions } from "./save.ts";
import type { CheckOptions, Fault } from "./verify.ts";

/** Which store. */
export interface LayerStoreOptions {
  /** Where the store is. Default: /var/lib/tsrun, for others than root $XDG_DATA_HOME/tsrun. */
  storageRoot?: string | undefined;
  /** Owners of imported files as they are to be on disk; a store has one mapping for all its layers. */
  idMap?: IdMap | undefined;
}

/**
 * Images, layers and read-write layers. A name of an image is "web", "web:tag", or (the beginning of) its id; that of a
 * layer (the beginning of) its chain ID; sizes are bytes.
 *
 * Every method rejects with StateError for what the store does not have or what is in use, with SyscallError when the disk
 * or its rights fail, and with TsrunError for what is damaged.
 */
export class LayerStore {
  readonly storageRoot: string;
  readonly #idMap: IdMap | undefined;

  constructor(options: LayerStoreOptions = {}) {
    this.storageRoot = options.storageRoot ?? storageRoot();
    this.#idMap = options.idMap;
  }

  async #context(): Promise<StoreContext> {
    const { storeContext } = await import("./context.ts");
    return storeContext(this.storageRoot, this.#idMap);
  }

  /**
   * Imports the images of an OCI image layout (a directory, or a tar of one), of an archive of `docker save`, or one
   * image made of the tar of a root filesystem. "-" is standard input. gzip and zstd are taken off.
   *
   * @throws TsrunError for what is damaged or hostile; the store is as before then
   */
  async importImage(path: string, options: Partial<ImportOptions> = {}): Promise<ImportedImage[]> {
    const [{ importImage }, { hostPlatform }] = await Promise.all([import("./import.ts"), import("./image-source.ts")]);
    const context = await this.#context();
    return this.#change(() => importImage(context, path, { platform: hostPlatform(), ...options }));
  }

  /** Imports one tar as a layer on top of `parent`. It stays until removeLayer. */
  async importLayer(
    path: string,
    parent?: string,
    options: Pick<ImportOptions, "onProgress" | "onWarning"> = {},
  ): Promise<{ diffId: string; chainId: string; size: number }> {
    const { importLayer } = await import("./import.ts");
    const [context, parentId] = [await this.#context(), await this.#chainId(parent)];
    return this.#change(() => importLayer(context, path, parentId, options));
  }

  /** Something that writes to the store; its errors say what helps when the store cannot be written. */
  async #change<T>(task: () => T | Promise<T>): Promise<T> {
    try {
      return await task();
    } catch (error) {
      throw (await import("./files.ts")).withStoreFix(error, this.storageRoot);
    }
  }

  async #chainId(text: string | undefined): Promise<string | undefined> {
    if (text === undefined) return undefined;
    return (await import("./inspect.ts")).findLayerId(this.storageRoot, text);
  }

  /** A name of an image with its tag, "latest" where there is none. @throws TsrunError for what is no name */
  async imageName(text: string): Promise<string> {
    return (await import("./imagedb.ts")).fullName(text);
  }

  /** The images, with names and sizes. */
  async images(): Promise<ImageRow[]> {
    return (await import("./inspect.ts")).images(this.storageRoot);
  }

  /** The config of an image, by its name or (the beginning of) its id. */
  async image(
    reference: string,
  ): Promise<{ id: string; text: string; config: ImageConfig; names: string[]; layers: string[] }> {
    return (await import("./inspect.ts")).image(this.storageRoot, reference);
  }

  /** How an image was made, the first step first; steps that made a layer have it with its size. */
  async history(reference: string): Promise<(HistoryEntry & { layer?: string; size: number })[]> {
    return (await import("./inspect.ts")).history(this.storageRoot, reference);
  }

  /** The layers, with the images, containers and layers that need them. */
  async layers(): Promise<LayerRow[]> {
    return (await import("./inspect.ts")).layers(this.storageRoot);
  }

  /** What the disk is used for. */
  async usage(): Promise<StoreUsage> {
    return (await import("./inspect.ts")).usage(this.storageRoot);
  }

  /** Gives an image a further name, and takes it from the image that had it. */
  async tag(reference: string, name: string): Promise<{ id: string; name: string }> {
    const { tagImage } = await import("./gc.ts");
    return this.#change(() => tagImage(this.storageRoot, reference, name));
  }

  /** Takes a name away, with the last one the image and the layers that nobody else needs; `force`: all names of an id. */
  async removeImage(reference: string, options: { force?: boolean } = {}): Promise<RemovedImage> {
    const { removeImage } = await import("./gc.ts");
    return this.#change(() => removeImage(this.storageRoot, reference, options));
  }

  /** Removes a layer that was imported by itself, and that nobody needs. */
  async removeLayer(chainId: string): Promise<void> {
    const { removeLayer } = await import("./gc.ts");
    const id = (await this.#chainId(chainId)) as string;
    return this.#change(() => removeLayer(this.storageRoot, id));
  }

  /** Removes layers that nobody needs, and what killed programs have left. */
  async gc(): Promise<Collected> {
    const { collectGarbage } = await import("./gc.ts");
    return this.#change(() => collectGarbage(this.storageRoot));
  }

  /** Verifies every layer against its digest. */
  async check(options: CheckOptions = {}): Promise<Fault[]> {
    const { checkStore } = await import("./verify.ts");
    return this.#change(() => checkStore(this.storageRoot, options));
  }

  /** The uncompressed tar of a layer, byte for byte as it was imported. */
  async layerTar(chainId: string): Promise<AsyncGenerator<Uint8Array>> {
    const { findLayerId, layerOf } = await import("./inspect.ts");
    const { layerTar } = await import("./assemble.ts");
    return layerTar(this.storageRoot, layerOf(this.storageRoot, findLayerId(this.storageRoot, chainId)));
  }

  /** What a container, or a named read-write layer, has changed. Costs the change, not the image. */
  async diff(container: string): Promise<ChangedPath[]> {
    return (await import("./diff.ts")).diffContainer(await this.#context(), container);
  }

  /** Makes an image of what a container has changed, on top of the image it was made of. */
  async commit(
    container: string,
    options: CommitOptions = {},
  ): Promise<{ id: string; chainId: string; diffId: string }> {
    const [{ commitContainer }, context] = await Promise.all([import("./commit.ts"), this.#context()]);
    return this.#change(() => commitContainer(context, container, options));
  }

  /** The whole root filesystem of a container, or of an image, as one tar. */
  async exportTar(
    container: string,
    options: { epoch?: number | undefined } = {},
  ): Promise<AsyncGenerator<Uint8Array>> {
    return (await import("./export.ts")).exportTar(await this.#context(), container, options);
  }

  /** Writes images as an OCI image layout or an archive as `docker save` makes it. */
  async save(references: readonly string[], options: SaveOptions): Promise<void> {
    return (await import("./save.ts")).saveImages(this.storageRoot, references, options);
  }

  /** Copies a read-write layer as it is now, sharing content where the filesystem can; it goes with the layer. */
  async snapshot(container: string, name: string): Promise<void> {
    const { makeSnapshot } = await import("./snapshot.ts");
    return this.#change(() => makeSnapshot(this.storageRoot, container, name));
  }

  /** Names of the snapshots of a read-write layer. */
  async snapshots(container: string): Promise<string[]> {
    return (await import("./snapshot.ts")).snapshots(this.storageRoot, container);
  }

  /** Makes a read-write layer that no container has what it was at a snapshot. */
  async rollback(container: string, name: string): Promise<void> {
    const { rollback } = await import("./snapshot.ts");
    return this.#change(() => rollback(this.storageRoot, container, name));
  }

  /** Removes a snapshot. */
  async forgetSnapshot(container: string, name: string): Promise<void> {
    const { forgetSnapshot } = await import("./snapshot.ts");
    return this.#change(() => forgetSnapshot(this.storageRoot, container, name));
  }

  /** Named read-write layers, and those of containers. */
  async rwLayers(): Promise<RwLayerRow[]> {
    return (await import("./rw-layers.ts")).rwLayers(this.storageRoot);
  }

  /** Removes a read-write layer that no container has, and its snapshots with it. */
  async removeRwLayer(name: string): Promise<void> {
    const { removeRwLayer } = await import("./rw-layers.ts");
    return this.#change(() => removeRwLayer(this.storageRoot, name));
  }

  /** Which layer of a container or an image a path comes from, and what it hides. */
  async why(subject: string, path: string): Promise<OriginRow[]> {
    return (await import("./why.ts")).whyPath(await this.#context(), subject, path);
  }
}

export type {
  ChangedPath,
  CheckOptions,
  Collected,
  CommitOptions,
  Fault,
  HistoryEntry,
  IdMap,
  ImageConfig,
  ImageRow,
  ImportedImage,
  ImportOptions,
  LayerRow,
  OriginRow,
  Platform,
  Progress,
  RemovedImage,
  RwLayerRow,
  SaveOptions,
  StoreUsage,
};
