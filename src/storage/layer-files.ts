/** Directories of a stack of layers, copied out of it. */
import { isErrno } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_RDONLY, S_IFDIR, S_IFMT } from "../sys/constants.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";
import type { StoreContext } from "./context.ts";
import { mountView } from "./merged-view.ts";
import { components, nameBytes, textName } from "./tar/bytes.ts";
import { TarReader } from "./tar/reader.ts";
import { tarOf } from "./tar-stream.ts";
import { LayerWriter } from "./unpack.ts";
import { walkTree } from "./walk.ts";

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
