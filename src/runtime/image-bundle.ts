/** Writes the bundle of an image: config.json, and a directory for each volume with what the image has there. */
import { StateError } from "../errors.ts";
import { imageSpec } from "../spec/image.ts";
import { claimBundle } from "../storage/bundles.ts";
import { storeContext } from "../storage/context.ts";
import { chainIdsOf, digestOf, hexOf } from "../storage/digest.ts";
import { withStoreFix } from "../storage/files.ts";
import { findImage, readImage } from "../storage/imagedb.ts";
import { unpackFromLayers } from "../storage/layer-files.ts";
import { readInLayers } from "../storage/layer-text.ts";
import { ensureStore } from "../storage/store-lock.ts";
import { imageDirs } from "../storage/view.ts";
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import type { ImageBundle, ImageBundleOptions } from "./image.ts";
import { callerIds } from "./own-ids.ts";

export function makeImageBundle(options: ImageBundleOptions & { storageRoot: string }): ImageBundle {
  const { storageRoot, directory } = options;
  ensureStore(storageRoot);
  const imageId = findImage(storageRoot, options.image);
  const { config } = readImage(storageRoot, imageId);
  const layers = imageDirs(storageRoot, options.image);
  const { spec, volumes } = imageSpec(config, {
    imageId,
    layers: chainIdsOf(config.rootfs.diff_ids),
    args: options.args ?? [],
    terminal: options.terminal === true,
    passwd: () => readInLayers(layers, "etc/passwd"),
    group: () => readInLayers(layers, "etc/group"),
    volumesDirectory: directory === undefined ? undefined : "volumes",
    // Images have several users as a rule.
    rootless: callerIds(),
  });
  const text = `${JSON.stringify(spec, null, 2)}\n`;
  if (directory === undefined) {
    const { path, lock } = claim(storageRoot, text);
    return { bundle: path, spec, imageId, [Symbol.dispose]: () => lock[Symbol.dispose]() };
  }
  if (existsSync(directory) && readdirSync(directory).length > 0)
    throw new StateError(`${directory} is not empty`, { fix: "name a new directory" });
  const isNew = !existsSync(directory);
  mkdirSync(directory, { mode: 0o755, recursive: true });
  try {
    if (volumes.length > 0) mkdirSync(`${directory}/volumes`, { mode: 0o700 });
    for (const { destination, source } of volumes) {
      mkdirSync(`${directory}/${source}`, { mode: 0o755 });
      unpackFromLayers(layers, destination, `${directory}/${source}`, storeContext(storageRoot, undefined));
    }
    // Last: a directory without it is no bundle.
    writeFileSync(`${directory}/config.json`, text, { exclusive: true });
  } catch (error) {
    for (const name of readdirSync(directory)) removeTree(directory, name);
    if (isNew) rmdirSync(directory);
    throw error;
  }
  return { bundle: directory, spec, imageId, [Symbol.dispose]: () => {} };
}

function claim(storageRoot: string, text: string): ReturnType<typeof claimBundle> {
  try {
    return claimBundle(storageRoot, hexOf(digestOf(text)), text);
  } catch (error) {
    throw withStoreFix(error, storageRoot);
  }
}
