/** Writes the bundle of an image: config.json, and a directory for each volume with what the image has there. */
import { StateError } from "../errors.ts";
import { subordinateIds } from "../host.ts";
import type { Rootless } from "../spec/defaults.ts";
import { imageSpec } from "../spec/image.ts";
import { chainIdsOf, digestOf, hexOf } from "../storage/digest.ts";
import { findImage, readImage } from "../storage/imagedb.ts";
import { readInLayers, unpackFromLayers } from "../storage/layer-files.ts";
import { ensureStore } from "../storage/store-lock.ts";
import { imageDirs } from "../storage/view.ts";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "../sys/fs.ts";
import type { ImageBundle, ImageBundleOptions } from "./image.ts";

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
    unpackFromLayers(layers, destination, `${directory}/${source}`);
  }
  // Last: a directory without it is no bundle.
  writeFileSync(`${directory}/config.json`, text, { exclusive: true });
  return { bundle: directory, spec, imageId };
}

/** Images have several users as a rule: all ids of the caller are mapped, where there is who does it. */
function callerIds(): Rootless | undefined {
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0) return undefined;
  const { uids, gids, hasPrograms } = subordinateIds(uid);
  const ranges = hasPrograms && uids.length > 0 && gids.length > 0 ? { uids, gids } : undefined;
  return { uid, gid: process.getegid?.() ?? 0, ranges };
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
