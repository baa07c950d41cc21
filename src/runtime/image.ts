/** An image of the store as a bundle. The rules are in spec/image.ts; what they need of files is read here. */
import type { Spec } from "../spec/types.ts";
import { storageRoot } from "../storage/location.ts";

/** Which image, and what of its config is to be another. */
export interface ImageBundleOptions {
  /** Name or id of the image. */
  image: string;
  /** In place of the image's Cmd. */
  args?: readonly string[] | undefined;
  terminal?: boolean | undefined;
  /** Where the bundle is to be; a new or an empty directory. Absent: in the store, one for all that have the same config. */
  directory?: string | undefined;
  /** Where the store is. Default: as that of `LayerStore`. */
  storageRoot?: string | undefined;
}

/** Until it is disposed of, or the process ends, `gc` leaves a bundle in the store alone; then it does for a container of it. */
export interface ImageBundle extends Disposable {
  /** The bundle directory. */
  bundle: string;
  spec: Spec;
  imageId: string;
}

/** Writes a bundle for an image. @throws StateError when there is no such image; SpecError when it says what cannot be */
export async function imageBundle(options: ImageBundleOptions): Promise<ImageBundle> {
  const { makeImageBundle } = await import("./image-bundle.ts");
  return makeImageBundle({ ...options, storageRoot: options.storageRoot ?? storageRoot() });
}
