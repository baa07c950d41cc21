/**
 * Layers with the owners of a user namespace as copies: for kernels whose overlayfs takes no idmapped mounts, and for file
 * systems that have none. A layer of the store is copied once for each mapping, to overlay2/<id>/mapped/<mapping>, which
 * goes with the layer; a directory may change, and so is copied for each container.
 */
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, flockDir, open, syncfs } from "../sys/file.ts";
import { existsSync, mkdirSync, realpathSync, renameSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { copyTree } from "./copy-tree.ts";
import { makeDirectory } from "./files.ts";
import type { IdMap } from "./id-map.ts";
import { overlayDir } from "./layout.ts";

/** Beside `diff`: the directory of a layer's copies. */
export const COPIES = "mapped";

/** A name longer than this is no name of a file any more. */
const MAX_NAME = 200;

export interface CopyRequest {
  storageRoot: string;
  /** overlay2/<mount id> of the container. */
  home: string;
  lowers: readonly string[];
  isMapped: readonly boolean[];
  ids: IdMap;
}

/** Paths of the layers, copies in the place of those that are to be mapped, and how many had to be made now. */
export function mappedCopies({ storageRoot, home, lowers, isMapped, ids }: CopyRequest): {
  paths: string[];
  made: number;
} {
  const key = mappingName(ids);
  const overlay = `${realpathSync(overlayDir(storageRoot))}/`;
  let made = 0;
  removeTree(home, COPIES); // of the last container that had this named layer
  const paths = lowers.map((lower, i) => {
    if (!isMapped[i]) return lower;
    const path = realpathSync(lower);
    const isStored = path.startsWith(overlay) && path.endsWith("/diff") && key.length <= MAX_NAME;
    const dir = `${isStored ? path.slice(0, -"/diff".length) : home}/${COPIES}`;
    const copy = isStored ? key : String(i);
    makeDirectory(dir, 0o711);
    using _lock = flockDir(dir);
    if (!existsSync(`${dir}/${copy}`)) {
      copyLayer(path, dir, copy, ids);
      made++;
    }
    return `${dir}/${copy}`;
  });
  return { paths, made };
}

/** It appears by rename when the disk has all of it. */
function copyLayer(from: string, dir: string, name: string, ids: IdMap): void {
  removeTree(dir, "new"); // of one that was killed
  mkdirSync(`${dir}/new`, { mode: 0o700 });
  using source = new Fd(open(from, O_RDONLY | O_DIRECTORY));
  using target = new Fd(open(`${dir}/new`, O_RDONLY | O_DIRECTORY));
  copyTree(source.fd, target.fd, ids);
  syncfs(target.fd);
  renameSync(`${dir}/new`, `${dir}/${name}`);
}

/** A mapping as the name of a file: u0-100000-65536,g0-100000-65536. */
export function mappingName({ uids, gids }: IdMap): string {
  const part = (letter: string, ranges: IdMap["uids"]) =>
    ranges.map(({ containerID, hostID, size }) => `${letter}${containerID}-${hostID}-${size}`);
  return [...part("u", uids), ...part("g", gids)].join(",");
}
