/** The stack of directories that a container or an image has. */
import { StateError, TsrunError } from "../errors.ts";
import { existsSync } from "../sys/fs.ts";
import { chainIdsOf, type Digest } from "./digest.ts";
import { readText } from "./files.ts";
import type { IdMap } from "./id-map.ts";
import { findImage, readImage } from "./imagedb.ts";
import { chainIds, contentDir, linkOf, readLayer, type StoredLayer } from "./layerdb.ts";
import { isFileName, isNamed, layerNameProblem, namedMountId, overlayDir } from "./layout.ts";
import { type Lower, parseLower } from "./link.ts";
import { readRecord } from "./records.ts";

export interface Stack {
  mountId: string;
  /** What the container has written. */
  upper: string;
  /** Directories below it, top first; the init layer is the first. */
  lowers: string[];
  /** Chain ID of the topmost layer below the init layer; undefined when that is none of the store. */
  parent: Digest | undefined;
  /** Of a container in a user namespace whose layers are mapped for it: how ids in `upper` are the container's. */
  idMap?: IdMap | undefined;
}

/** The stack of a container, or of a named read-write layer. @throws StateError when there is none */
export function stackOf(storageRoot: string, container: string): Stack {
  const mountId = mountIdOf(storageRoot, container);
  const home = mountId === undefined ? undefined : `${overlayDir(storageRoot)}/${mountId}`;
  const lower = home === undefined ? undefined : readText(`${home}/lower`);
  if (mountId === undefined || home === undefined || lower === undefined) {
    throw new StateError(`${container} has no read-write layer in the store at ${storageRoot}`, {
      fix: "only a container of layers (--image, --layer, --overlay) has one, and it goes with the container unless it is named",
    });
  }
  if (readText(`${home}/driver`) === "vfs") {
    throw new StateError(
      `${container} has a copy of its layers (driver vfs), in which changes cannot be told from the rest`,
      {
        fix: "`tsrun layer export` gives all of it",
      },
    );
  }
  const parsed = parseLower(lower);
  const toPath = (layer: Lower) => ("link" in layer ? `${overlayDir(storageRoot)}/l/${layer.link}` : layer.path);
  const lowers = parsed.map(toPath);
  // The init layer of a named layer goes with each container that has it.
  if (isNamed(mountId) && !existsSync(lowers[0] ?? "")) lowers.shift();
  const idMap = idMapOf(home);
  return { mountId, upper: `${home}/diff`, lowers, parent: parentOf(storageRoot, parsed.slice(1)), idMap };
}

function idMapOf(home: string): IdMap | undefined {
  const text = readText(`${home}/ids`);
  return text === undefined ? undefined : (JSON.parse(text) as IdMap);
}

function mountIdOf(storageRoot: string, container: string): string | undefined {
  if (!isFileName(container)) return undefined;
  const recorded = readRecord(storageRoot, container)?.mountId;
  if (recorded !== undefined && recorded !== "") return recorded;
  if (layerNameProblem(container) !== undefined) return undefined;
  const named = namedMountId(container);
  return existsSync(`${overlayDir(storageRoot)}/${named}`) ? named : undefined;
}

/** The root of a container of driver vfs. */
export function copyOf(storageRoot: string, container: string): string | undefined {
  const mountId = mountIdOf(storageRoot, container);
  const home = `${overlayDir(storageRoot)}/${mountId}`;
  return mountId !== undefined && readText(`${home}/driver`) === "vfs" ? `${home}/diff` : undefined;
}

/** The chain that these layers are, if they are exactly one. */
function parentOf(storageRoot: string, layers: readonly Lower[]): Digest | undefined {
  const [top] = layers;
  if (top === undefined || !("link" in top)) return undefined;
  for (const chainId of chainIds(storageRoot)) {
    const layer = readLayer(storageRoot, chainId);
    if (layer === undefined || linkOf(storageRoot, layer.cacheId) !== top.link) continue;
    let id: Digest | undefined = chainId;
    for (const lower of layers) {
      const own: StoredLayer | undefined = id === undefined ? undefined : readLayer(storageRoot, id);
      if (own === undefined || !("link" in lower) || linkOf(storageRoot, own.cacheId) !== lower.link) return undefined;
      id = own.parent;
    }
    return id === undefined ? chainId : undefined;
  }
  return undefined;
}

/** Directories of an image's layers, top first. */
export function imageDirs(storageRoot: string, reference: string): string[] {
  const { config } = readImage(storageRoot, findImage(storageRoot, reference));
  const layers = chainIdsOf(config.rootfs.diff_ids).map((chainId) => {
    const layer = readLayer(storageRoot, chainId);
    if (layer === undefined)
      throw new TsrunError(`layer ${chainId} of ${reference} is lost`, { fix: "import the image again" });
    return contentDir(storageRoot, layer);
  });
  return layers.reverse();
}
