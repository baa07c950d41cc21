/** Single files and directories of a stack of layers, without mounting it. */
import { isErrno } from "../errors.ts";
import { utf8Text } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";
import type { StoreContext } from "./context.ts";
import { mountView } from "./merged-view.ts";
import { components, nameBytes, textName } from "./tar/bytes.ts";
import { TarReader } from "./tar/reader.ts";
import { tarOf } from "./tar-stream.ts";
import { LayerWriter } from "./unpack.ts";
import { walkTree } from "./walk.ts";

/** More than any real passwd file: an image may hold anything under that name. */
const MAX_BYTES = 1 << 20;

/** A text file as the topmost layer that has it shows it; undefined when none does, or it is no file. */
export function readInLayers(layers: readonly string[], path: string): string | undefined {
  for (const layer of layers) {
    using root = new Fd(open(layer, O_PATH | O_DIRECTORY));
    let place: number;
    try {
      place = resolveInRoot(root.fd, path, O_RDONLY | O_NONBLOCK);
    } catch (error) {
      // ENXIO: a whiteout is a device without a driver.
      if (isErrno(error, "ENXIO", "ENODEV")) return undefined;
      if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) continue;
      throw error;
    }
    using file = new Fd(place);
    const { mode } = statx(file.fd, "");
    if ((mode & S_IFMT) === S_IFCHR) return undefined;
    if ((mode & S_IFMT) !== S_IFREG) return undefined;
    return utf8Text(preadFull(file.fd, new Uint8Array(MAX_BYTES), 0));
  }
  return undefined;
}

/**
 * Copies a directory of the image, with owners, links and attributes; one that is not there is empty.
 *
 * @param space of the marks in the layers
 */
export function unpackFromLayers(
  layers: readonly string[],
  path: string,
  target: string,
  { space, unprivileged, userns }: Pick<StoreContext, "space" | "unprivileged" | "userns">,
): void {
  const parts = components(textName(path));
  if (parts === undefined) return;
  using view = mountView(layers, { userxattr: space === "user.overlay." });
  let place: number;
  try {
    place = resolveInRoot(view.fd, nameBytes(parts.join("/")), O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return;
    throw error;
  }
  using from = new Fd(place);
  using to = new Fd(open(target, O_RDONLY | O_DIRECTORY));
  using writer = new LayerWriter(to.fd, { lowers: [], space, unprivileged, userns, isTree: true });
  const reader = new TarReader(writer);
  for (const piece of tarOf(walkTree(from.fd, "", new Map(), {}))) reader.push(piece);
  reader.finish();
  writer.finish();
  const { mode, uid, gid } = statx(from.fd, "");
  using top = new Fd(openat(to.fd, ".", O_RDONLY | O_DIRECTORY));
  if ((mode & S_IFMT) === S_IFDIR) writer.dressTop(top.fd, mode, uid, gid);
}
