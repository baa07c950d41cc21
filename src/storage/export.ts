/** `export`: a whole root filesystem as one tar, as `docker export` gives it. */
import { StateError } from "../errors.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, openat } from "../sys/file.ts";
import type { StoreContext } from "./context.ts";
import type { IdMap } from "./id-map.ts";
import { mountView } from "./merged-view.ts";
import { tarOf } from "./tar-stream.ts";
import { copyOf, imageDirs, stackOf } from "./view.ts";
import { walkTree } from "./walk.ts";

/** @param subject a container, a named read-write layer, or an image */
export async function* exportTar(
  { storageRoot, space, idMap }: StoreContext,
  subject: string,
  { epoch }: { epoch?: number | undefined } = {},
): AsyncGenerator<Uint8Array> {
  const { directories, ids } = subjectOf(storageRoot, subject);
  using view = mountView(directories, { userxattr: space === "user.overlay." });
  using root = new Fd(openat(view.fd, ".", O_RDONLY | O_DIRECTORY));
  yield* tarOf(walkTree(root.fd, "", new Map(), { epoch, idMap: idMap ?? ids, keepsOthers: idMap === undefined }));
}

/** All directories of a container or an image, top first. */
export function directoriesOf(storageRoot: string, subject: string): string[] {
  return subjectOf(storageRoot, subject).directories;
}

function subjectOf(storageRoot: string, subject: string): { directories: string[]; ids?: IdMap | undefined } {
  const copy = copyOf(storageRoot, subject);
  if (copy !== undefined) return { directories: [copy] };
  let stack: ReturnType<typeof stackOf>;
  try {
    stack = stackOf(storageRoot, subject);
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    try {
      return { directories: imageDirs(storageRoot, subject) };
    } catch {
      throw error; // about the container, which is what was most likely meant
    }
  }
  return { directories: [stack.upper, ...stack.lowers], ids: stack.idMap };
}
