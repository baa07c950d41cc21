/**
 * Finds the directories of the layers that a bundle names: absolute paths, or "sha256:<chain ID>" of the store.
 */
import { isErrno, type Problem, SpecError } from "../errors.ts";
import { realpathSync, type Stats, statSync } from "../sys/fs.ts";
import { readText } from "./files.ts";
import { chainDir, isFileName, MAX_LAYERS, overlayDir } from "./layout.ts";
import { isLinkName, type Lower } from "./link.ts";

export interface Layer {
  /** The directory with the content: of a layer of the store its diff. */
  directory: string;
  /** How the `lower` file names it. */
  lower: Lower;
  /** "sha256:…" of a layer in the store. */
  chainId?: string;
  /** The directory in overlay2 of a layer in the store. */
  cacheId?: string;
}

/**
 * The layers in the order given, lowest first.
 *
 * @throws SpecError that names every layer that is missing, not a directory, or no name of a layer at all
 */
export function findLayers(layers: readonly string[], storageRoot: string): Layer[] {
  if (layers.length === 0) throw new SpecError([{ path: "org.tsrun.layers", message: "names no layer" }]);
  if (layers.length > MAX_LAYERS) throw tooMany(layers.length);
  const problems: Problem[] = [];
  const found: Layer[] = [];
  const first = new Map<string, number>();
  layers.forEach((name, index) => {
    const layer = findLayer(name, storageRoot);
    const path = `org.tsrun.layers[${index}]`;
    if (typeof layer === "string") {
      problems.push({ path, message: layer });
      return;
    }
    const same = first.get(layer.directory);
    // overlayfs refuses a directory that is there twice (ELOOP); the lower one of the two shows nothing anyway.
    if (same === undefined) first.set(layer.directory, index);
    else problems.push({ path, message: `${name} is the same directory as org.tsrun.layers[${same}]: name it once` });
    found.push(layer);
  });
  if (problems.length > 0) throw new SpecError(problems);
  return found;
}

function tooMany(count: number): SpecError {
  const message = `names ${count} layers; at most ${MAX_LAYERS} can be mounted`;
  return new SpecError([{ path: "org.tsrun.layers", message }], {
    fix: "put the content of some layers that lie next to each other into one directory",
  });
}

/** The layer, or what is wrong with it. */
function findLayer(name: string, storageRoot: string): Layer | string {
  if (name.startsWith("sha256:")) return findInStore(name, storageRoot);
  if (!name.startsWith("/")) return `"${name}" is neither an absolute path nor sha256:<chain ID>`;
  if (name.includes("\0")) return "a path cannot contain a NUL character";
  const problem = directoryProblem(name);
  if (problem !== undefined) return problem;
  // Links on the way are followed now, once: `lower` says what was mounted even after one was changed.
  const directory = realpathSync(name);
  return { directory, lower: { path: directory } };
}

function findInStore(chainId: string, storageRoot: string): Layer | string {
  const digits = chainId.slice("sha256:".length);
  if (!/^[0-9a-f]{64}$/.test(digits)) return `"${chainId}" is not sha256: and 64 hex digits`;
  const cacheId = readText(`${chainDir(storageRoot, digits)}/cache-id`)?.trim();
  if (cacheId === undefined) return `the store at ${storageRoot} has no layer ${chainId}`;
  if (!isFileName(cacheId)) return `the cache-id of ${chainId} in the store at ${storageRoot} is damaged`;
  const home = `${overlayDir(storageRoot)}/${cacheId}`;
  const directory = `${home}/diff`;
  const problem = directoryProblem(directory);
  if (problem !== undefined) return `the content of ${chainId} is lost: ${problem}`;
  return { directory, lower: storeLower(home, directory, storageRoot), chainId, cacheId };
}

/** By its link; by its path when the link is lost, as after a crash in the middle of an import. */
function storeLower(home: string, directory: string, storageRoot: string): Lower {
  const link = readText(`${home}/link`)?.trim();
  if (link === undefined || !isLinkName(link)) return { path: directory };
  const there = statSync(`${overlayDir(storageRoot)}/l/${link}`);
  return there?.isDirectory() ? { link } : { path: directory };
}

function directoryProblem(path: string): string | undefined {
  let stats: Stats | undefined;
  try {
    stats = statSync(path);
  } catch (error) {
    if (!isErrno(error, "ELOOP", "ENAMETOOLONG", "EACCES", "ENOTDIR")) throw error;
    return `${path} cannot be opened: ${(error as NodeJS.ErrnoException).code}`;
  }
  if (stats === undefined) return `${path} does not exist`;
  return stats.isDirectory() ? undefined : `${path} is not a directory`;
}
