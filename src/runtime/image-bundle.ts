/** Writes the bundle of an image: config.json, and a directory for each volume with what the image has there. */
import { StateError } from "../errors.ts";
import { imageSpec } from "../spec/image.ts";
import { storeContext } from "../storage/context.ts";
import { chainIdsOf, digestOf, hexOf } from "../storage/digest.ts";
import { findImage, readImage } from "../storage/imagedb.ts";
import { readInLayers, unpackFromLayers } from "../storage/layer-files.ts";
import { ensureStore } from "../storage/store-lock.ts";
import { imageDirs } from "../storage/view.ts";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "../sys/fs.ts";
import type { ImageBundle, ImageBundleOptions } from "./image.ts";
import { callerIds } from "./own-ids.ts";

export function makeImageBundle(options: ImageBundleOptions): ImageBundle {
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
  if (directory === undefined) return { bundle: sharedBundle(storageRoot, text), spec, imageId };
  if (existsSync(directory) && readdirSync(directory).length > 0)
    throw new StateError(`${directory} is not empty`, { fix: "name a new directory" });
  mkdirSync(directory, { mode: 0o755, recursive: true });
  if (volumes.length > 0) mkdirSync(`${directory}/volumes`, { mode: 0o700 });
  for (const { destination, source } of volumes) {
    mkdirSync(`${directory}/${source}`, { mode: 0o755 });
    unpackFromLayers(layers, destination, `${directory}/${source}`, storeContext(storageRoot, undefined));
  }
  // Last: a directory without it is no bundle.
  writeFileSync(`${directory}/config.json`, text, { exclusive: true });
  return { bundle: directory, spec, imageId };
}

/** Containers of one image with one command have one bundle, which nobody writes again. */
function sharedBundle(storageRoot: string, text: string): string {
  const bundle = `${storageRoot}/bundles/${hexOf(digestOf(text))}`;
  if (existsSync(`${bundle}/config.json`)) return bundle;
  mkdirSync(bundle, { mode: 0o711, recursive: true });
  const temporary = `${bundle}/config.json.${process.pid}`;
  writeFileSync(temporary, text, { mode: 0o644 });
  renameSync(temporary, `${bundle}/config.json`);
  return bundle;
}
