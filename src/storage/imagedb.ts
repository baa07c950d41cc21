/**
 * Images: the configs as they were (image/overlay2/imagedb/content/sha256/<id>, the id being the digest of the file),
 * and the names they have (image/overlay2/repositories.json, in the shape that Docker gave it).
 */
import { StateError, TsrunError } from "../errors.ts";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "../sys/fs.ts";
import { removePath } from "../sys/remove.ts";
import { type Digest, digestOf, hexOf, isDigest } from "./digest.ts";
import { readText } from "./files.ts";
import { type ImageConfig, parseConfig } from "./image-config.ts";

function imageDir(storageRoot: string): string {
  return `${storageRoot}/image/overlay2`;
}

function configsDir(storageRoot: string): string {
  return `${imageDir(storageRoot)}/imagedb/content/sha256`;
}

export interface StoredImage {
  id: Digest;
  /** config.json as it was imported, byte for byte. */
  text: string;
  config: ImageConfig;
}

/** @throws TsrunError when the store has no such image, or not what it had */
export function readImage(storageRoot: string, id: Digest): StoredImage {
  const text = readText(`${configsDir(storageRoot)}/${hexOf(id)}`);
  if (text === undefined) throw new StateError(`the store at ${storageRoot} has no image ${id}`);
  if (digestOf(text) !== id) throw new TsrunError(`the config of image ${id} is damaged`, { fix: "import it again" });
  return { id, text, config: parseConfig(text, `image ${id}`) };
}

/** Ids of all images. */
export function imageIds(storageRoot: string): Digest[] {
  const dir = configsDir(storageRoot);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .map((name) => `sha256:${name}`)
    .filter(isDigest)
    .sort();
}

/** What else is kept of an image: the manifest that it came with, when its blobs were to be kept. */
function metadataDir(storageRoot: string, id: Digest): string {
  return `${imageDir(storageRoot)}/imagedb/metadata/sha256/${hexOf(id)}`;
}

export function readManifest(storageRoot: string, id: Digest): string | undefined {
  return readText(`${metadataDir(storageRoot, id)}/manifest`);
}

/** Keeps a config; its layers must be registered. @returns the image's id */
export function writeImage(storageRoot: string, text: string, manifest?: string): Digest {
  const id = digestOf(text);
  if (manifest !== undefined) {
    mkdirSync(metadataDir(storageRoot, id), { mode: 0o700, recursive: true });
    replaceFile(`${metadataDir(storageRoot, id)}/manifest`, manifest);
  }
  replaceFile(`${configsDir(storageRoot)}/${hexOf(id)}`, text);
  return id;
}

export function removeImageConfig(storageRoot: string, id: Digest): void {
  const path = `${configsDir(storageRoot)}/${hexOf(id)}`;
  removePath(metadataDir(storageRoot, id));
  if (existsSync(path)) unlinkSync(path);
}

/** A file that is whole, old or new, whatever happens. The caller holds the lock of the store. */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, text, { mode: 0o600, sync: true });
  renameSync(temporary, path);
}

/** "name:tag" to the id of the image. */
export type Names = Map<string, Digest>;

function namesFile(storageRoot: string): string {
  return `${imageDir(storageRoot)}/repositories.json`;
}

/** @throws TsrunError for a file that is damaged */
export function readNames(storageRoot: string): Names {
  const path = namesFile(storageRoot);
  const names: Names = new Map();
  if (!existsSync(path)) return names;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path));
  } catch (error) {
    throw new TsrunError(`${path} is damaged`, { cause: error, fix: "tsrun layer check --repair" });
  }
  const repositories = (content as { Repositories?: Record<string, Record<string, unknown>> } | null)?.Repositories;
  for (const tags of Object.values(repositories ?? {})) {
    for (const [name, id] of Object.entries(tags ?? {})) if (isDigest(id)) names.set(name, id);
  }
  return names;
}

export function writeNames(storageRoot: string, names: Names): void {
  const repositories: Record<string, Record<string, Digest>> = {};
  for (const [name, id] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const repository = splitName(name).repository;
    repositories[repository] ??= {};
    (repositories[repository] as Record<string, Digest>)[name] = id;
  }
  replaceFile(namesFile(storageRoot), JSON.stringify({ Repositories: repositories }));
}

export interface ImageName {
  repository: string;
  tag: string;
}

/** "registry:5000/a/b:tag" in two: what comes after the last ":" is the tag unless a "/" follows it. */
export function splitName(name: string): ImageName {
  const colon = name.lastIndexOf(":");
  if (colon === -1 || name.indexOf("/", colon) !== -1) return { repository: name, tag: "latest" };
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}

/**
 * A name with its tag, "latest" where there is none. As docker shows names: without the registry and the library that
 * are meant where none is named.
 *
 * @throws TsrunError for what is no name of an image
 */
export function fullName(name: string): string {
  const { repository, tag } = splitName(name.replace(/^(index\.)?docker\.io\/(library\/)?(?=.)/, ""));
  const part = "[a-zA-Z0-9]+(?:[._-]+[a-zA-Z0-9]+)*";
  const isName = new RegExp(`^(?:${part}(?::[0-9]{1,5})?/)?${part}(?:/${part})*$`).test(repository);
  if (!isName || repository.length > 255 || !/^[\w][\w.-]{0,127}$/.test(tag)) {
    throw new TsrunError(`${JSON.stringify(name.slice(0, 300))} is no name of an image`, {
      fix: "NAME or NAME:TAG, of letters, digits and . _ - /",
    });
  }
  return `${repository}:${tag}`;
}

/**
 * The image that a name, an id or the beginning of an id means.
 *
 * @throws StateError when there is none, or more than one
 */
export function findImage(storageRoot: string, reference: string): Digest {
  const names = readNames(storageRoot);
  const name = /^[\w./:-]+$/.test(reference) && !isDigest(reference) ? tryFullName(reference) : undefined;
  const named = name === undefined ? undefined : names.get(name);
  if (named !== undefined) return named;
  const digits = reference.startsWith("sha256:") ? reference.slice(7) : reference;
  if (/^[0-9a-f]{4,64}$/.test(digits)) {
    const found = imageIds(storageRoot).filter((id) => hexOf(id).startsWith(digits));
    if (found.length > 1) throw new StateError(`${reference} is the beginning of ${found.length} image ids`);
    if (found.length === 1) return found[0] as Digest;
  }
  const others = name === undefined ? [] : otherTags(names, name);
  throw new StateError(`the store at ${storageRoot} has no image ${JSON.stringify(reference)}`, {
    fix:
      others.length > 0
        ? `there is ${others.join(", ")}`
        : "`tsrun image list` prints those it has; `tsrun image import` brings one in",
  });
}

/** Names that differ from this one in the tag. */
function otherTags(names: Names, name: string): string[] {
  const { repository } = splitName(name);
  return [...names.keys()].filter((other) => splitName(other).repository === repository);
}

function tryFullName(reference: string): string | undefined {
  try {
    return fullName(reference);
  } catch {
    return undefined; // then it may be an id
  }
}

export function makeImageDirs(storageRoot: string): void {
  mkdirSync(configsDir(storageRoot), { mode: 0o700, recursive: true });
}
