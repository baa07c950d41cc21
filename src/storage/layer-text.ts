/** Single files of a stack of layers, without mounting it. */
import { isErrno } from "../errors.ts";
import { utf8Text } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY, S_IFCHR, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, statx } from "../sys/file.ts";

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
