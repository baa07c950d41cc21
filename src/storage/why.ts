/** `layer why`: which layer a path comes from, and what it hides there. */
import { isErrno, TsrunError } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_PATH, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { Fd, open } from "../sys/file.ts";
import { realpathSync } from "../sys/fs.ts";
import type { Statx } from "../sys/structs.ts";
import { getXattrAt } from "../sys/xattr.ts";
import type { StoreContext } from "./context.ts";
import { directoriesOf } from "./export.ts";
import type { OriginRow } from "./inspect.ts";
import { chainIds, readLayer } from "./layerdb.ts";
import { initId, isMountId, overlayDir } from "./layout.ts";
import { lookIn } from "./merged-view.ts";
import { OPAQUE } from "./overlay-marks.ts";
import { byteName, components, nameBytes, textName } from "./tar/bytes.ts";
import { unlessGone } from "./walk.ts";

const TYPES: Readonly<Record<number, string>> = {
  [S_IFREG]: "file",
  [S_IFDIR]: "directory",
  [S_IFLNK]: "symbolic link",
  [S_IFCHR]: "character device",
  [S_IFBLK]: "block device",
  [S_IFIFO]: "fifo",
};

/**
 * What each layer, top first, has to say about a path.
 *
 * @throws TsrunError for a path with ".." in it
 */
export function whyPath({ storageRoot, space }: StoreContext, subject: string, path: string): OriginRow[] {
  const parts = components(textName(path));
  if (parts === undefined || parts.length === 0)
    throw new TsrunError(`${JSON.stringify(path)} names nothing below the root`);
  const rows: OriginRow[] = [];
  const labels = layerLabels(storageRoot);
  let isOver = false;
  let hasDirectory = false;
  for (const directory of directoriesOf(storageRoot, subject)) {
    using root = new Fd(open(directory, O_PATH | O_DIRECTORY));
    const layer = nameOf(directoryId(storageRoot, directory), labels) ?? directory;
    // Nearest first: a whiteout or an opaque directory above the path decides about all below it.
    for (let depth = 1; depth <= parts.length; depth++) {
      const at = nameBytes(parts.slice(0, depth).join("/"));
      const found = lookIn(root.fd, at);
      if (found === undefined) break;
      const isLast = depth === parts.length;
      const isWhiteout = (found.mode & S_IFMT) === S_IFCHR && found.rdevMajor === 0 && found.rdevMinor === 0;
      if (isWhiteout) {
        rows.push({
          layer,
          what: isLast ? "deletes it" : `deletes /${parts.slice(0, depth).join("/")}`,
          isVisible: false,
        });
        isOver = true;
        break;
      }
      if (isLast) {
        const isDirectory = (found.mode & S_IFMT) === S_IFDIR;
        const isVisible = !isOver && (!hasDirectory || isDirectory);
        rows.push({ layer, what: describe(found), isVisible });
        if (!isDirectory) isOver = true;
        else hasDirectory = true;
      } else if ((found.mode & S_IFMT) !== S_IFDIR) {
        rows.push({
          layer,
          what: `has a ${describe(found)} in place of /${parts.slice(0, depth).join("/")}`,
          isVisible: false,
        });
        isOver = true;
        break;
      }
      if (isOpaque(root.fd, parts.slice(0, depth), space)) {
        const hides = isLast
          ? "hides all that is below it here"
          : `hides all below /${parts.slice(0, depth).join("/")}`;
        rows.push({ layer, what: hides, isVisible: false });
        isOver = true;
      }
    }
  }
  return rows;
}

function isOpaque(root: number, parts: readonly string[], space: string): boolean {
  const value = unlessGone(() => {
    using parent = new Fd(resolveInRoot(root, nameBytes(parts.slice(0, -1).join("/")), O_PATH | O_DIRECTORY));
    return getXattrAt(parent.fd, nameBytes(parts.at(-1) as string), space + OPAQUE);
  });
  return value !== undefined && byteName(value) === "y";
}

function describe({ mode, size, uid, gid }: Statx): string {
  const type = TYPES[mode & S_IFMT] ?? "entry";
  const bytes = type === "file" ? `, ${size} bytes` : "";
  return `${type} ${(mode & 0o7777).toString(8).padStart(4, "0")} ${uid}:${gid}${bytes}`;
}

/** What the directories of overlay2 are called. */
function layerLabels(storageRoot: string): Map<string, string> {
  const labels = new Map<string, string>();
  for (const chainId of chainIds(storageRoot)) {
    const layer = readLayer(storageRoot, chainId);
    if (layer !== undefined) labels.set(layer.cacheId, chainId);
  }
  return labels;
}

function nameOf(id: string, labels: Map<string, string>): string | undefined {
  if (isMountId(id)) return labels.get(id) ?? "read-write layer";
  return id !== "" && isMountId(id.slice(0, -INIT.length)) && id.endsWith(INIT) ? "init layer" : undefined;
}

const INIT = initId("");

function directoryId(storageRoot: string, directory: string): string {
  const path = realPath(directory);
  const prefix = `${realPath(overlayDir(storageRoot))}/`;
  return path.startsWith(prefix) ? (path.slice(prefix.length).split("/")[0] ?? "") : "";
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return path;
    throw error;
  }
}
