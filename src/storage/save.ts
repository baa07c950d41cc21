/**
 * Writes images out: an OCI image layout (a directory, or a tar of one) or the archive that `docker load` takes.
 * Rules: OCI image-spec image-layout.md, manifest.md, annotations.md; the manifest.json of docker save.
 */
import { isErrno, TsrunError } from "../errors.ts";
import { basename, dirname, resolve } from "../path.ts";
import { utf8Bytes } from "../sys/call.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY } from "../sys/constants.ts";
import { Fd, fsync, open, statx, write } from "../sys/file.ts";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { WholeFile } from "../sys/whole-file.ts";
import { layerTar } from "./assemble.ts";
import { type Compression, compressed, fileBytes } from "./compression.ts";
import { chainIdsOf, type Digest, digestOf, hexOf, Sha256 } from "./digest.ts";
import { readText, unlinkQuiet, withStoreFix } from "./files.ts";
import { findImage, fullName, readImage, readManifest, type StoredImage, splitName } from "./imagedb.ts";
import { keptBlob } from "./layer-blob.ts";
import { readLayer, type StoredLayer } from "./layerdb.ts";
import { chainDir } from "./layout.ts";
import { namesOf } from "./references.ts";
import { ensureStore, WorkDirectory } from "./store-lock.ts";
import { textName } from "./tar/bytes.ts";
import type { TarEntry } from "./tar/header.ts";
import { roundUp } from "./tar/reader.ts";
import { formatHeader, TRAILER } from "./tar/writer.ts";

/** Where images are written, and how. */
export interface SaveOptions {
  /** Where: a path, or "-" for standard output. */
  output: string;
  /** "oci": a directory; "oci-archive": a tar of one; "docker-archive". */
  format: "oci" | "oci-archive" | "docker-archive";
  /** Of layers in an OCI layout: gzip, or what a blob that was kept has; those of a docker-archive never are compressed. */
  compression?: Compression | undefined;
}

interface Saved {
  image: StoredImage;
  names: string[];
  layers: StoredLayer[];
}

export async function saveImages(
  storageRoot: string,
  references: readonly string[],
  options: SaveOptions,
): Promise<void> {
  ensureStore(storageRoot);
  const images = references.map((reference) => findSaved(storageRoot, reference));
  if (options.format === "oci") await saveLayout(storageRoot, images, options.output, options.compression);
  else {
    using out = new Output(options.output);
    if (options.format === "docker-archive") await saveDocker(storageRoot, images, out);
    else await saveArchive(storageRoot, images, out, options.compression);
    out.finish();
  }
}

function findSaved(storageRoot: string, reference: string): Saved {
  const id = findImage(storageRoot, reference);
  const image = readImage(storageRoot, id);
  const all = namesOf(storageRoot, id);
  const own = all.filter((name) => name === reference || name === `${reference}:latest`);
  const layers = chainIdsOf(image.config.rootfs.diff_ids).map((chainId) => {
    const layer = readLayer(storageRoot, chainId);
    if (layer === undefined)
      throw new TsrunError(`layer ${chainId} of ${reference} is lost`, { fix: "import the image again" });
    return layer;
  });
  return { image, names: (own.length > 0 ? own : all).map(fullName), layers };
}

/** A file that appears whole, or standard output. */
class Output {
  readonly #file: WholeFile | undefined;

  constructor(path: string) {
    this.#file = path === "-" ? undefined : new WholeFile(path);
  }

  write(bytes: Uint8Array): void {
    if (this.#file === undefined) write(1, bytes, "standard output");
    else this.#file.write(bytes);
  }

  finish(): void {
    this.write(TRAILER);
    this.#file?.finish();
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
  }

  head(name: string, size: number, type: "file" | "directory" = "file"): void {
    this.write(formatHeader(plainEntry(name, size, type)));
  }

  file(name: string, text: string): void {
    const bytes = utf8Bytes(text);
    this.head(name, bytes.length);
    this.write(bytes);
    this.pad(bytes.length);
  }

  pad(size: number): void {
    if (roundUp(size) > size) this.write(new Uint8Array(roundUp(size) - size));
  }
}

function plainEntry(name: string, size: number, type: "file" | "directory"): TarEntry {
  return {
    type,
    name: textName(name),
    linkName: "",
    mode: type === "file" ? 0o644 : 0o755,
    uid: 0,
    gid: 0,
    size,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  };
}

async function saveDocker(storageRoot: string, images: readonly Saved[], out: Output): Promise<void> {
  const done = new Set<Digest>();
  const manifest: object[] = [];
  for (const { image, names, layers } of images) {
    for (const layer of layers) {
      if (done.has(layer.chainId)) continue;
      done.add(layer.chainId);
      const size = Number(readText(`${chainDir(storageRoot, hexOf(layer.chainId))}/tar-size`));
      if (!Number.isSafeInteger(size)) throw new TsrunError(`layer ${layer.chainId} is damaged: its tar-size is lost`);
      out.head(`${hexOf(layer.chainId)}/`, 0, "directory");
      out.head(`${hexOf(layer.chainId)}/layer.tar`, size);
      for await (const piece of layerTar(storageRoot, layer)) out.write(piece);
      out.pad(size);
    }
    const config = `${hexOf(image.id)}.json`;
    if (!done.has(image.id)) out.file(config, image.text);
    done.add(image.id);
    manifest.push({
      Config: config,
      RepoTags: names,
      Layers: layers.map(({ chainId }) => `${hexOf(chainId)}/layer.tar`),
    });
  }
  out.file("manifest.json", JSON.stringify(manifest));
  const repositories: Record<string, Record<string, string>> = {};
  for (const { names, layers } of images) {
    for (const name of names) {
      const { repository, tag } = splitName(name);
      repositories[repository] = { ...repositories[repository], [tag]: hexOf(layers.at(-1)?.chainId ?? "sha256:") };
    }
  }
  out.file("repositories", JSON.stringify(repositories));
}

interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations?: Record<string, string>;
  platform?: object;
}

/** Where blobs go: a directory `blobs/sha256`. */
async function writeLayerBlob(
  storageRoot: string,
  layer: StoredLayer,
  directory: string,
  wanted: Compression | undefined,
): Promise<Descriptor> {
  const hash = new Sha256();
  let size = 0;
  using kept = keptBlob(storageRoot, layer.chainId, wanted);
  const compression = kept?.compression ?? wanted ?? "gzip";
  const content = kept?.bytes() ?? compressed(layerTar(storageRoot, layer), compression);
  const temporary = `${directory}/new-${process.pid}`;
  removeTree(directory, `new-${process.pid}`);
  {
    using file = new Fd(open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o644));
    for await (const piece of content) {
      hash.update(piece);
      size += piece.length;
      write(file.fd, piece, temporary);
    }
    fsync(file.fd, temporary);
  }
  const digest = hash.digest();
  renameSync(temporary, `${directory}/${hexOf(digest)}`);
  const suffix = compression === "none" ? "" : `+${compression}`;
  return { mediaType: `application/vnd.oci.image.layer.v1.tar${suffix}`, digest, size };
}

/** Blobs of the images in `directory`. @returns what index.json lists */
async function writeBlobs(
  storageRoot: string,
  images: readonly Saved[],
  directory: string,
  compression: Compression | undefined,
): Promise<Descriptor[]> {
  const blobs = new Map<Digest, Descriptor>();
  const manifests: Descriptor[] = [];
  for (const { image, names, layers } of images) {
    const list: Descriptor[] = [];
    for (const layer of layers) {
      // Two layers of the same content are one blob, wherever they lie.
      const blob = blobs.get(layer.diffId) ?? (await writeLayerBlob(storageRoot, layer, directory, compression));
      blobs.set(layer.diffId, blob);
      list.push(blob);
    }
    const config = writeBlob(directory, image.text, "application/vnd.oci.image.config.v1+json");
    const { text, mediaType } = manifestOf(storageRoot, image, config, list);
    const { os, architecture, variant } = image.config;
    const manifest = {
      ...writeBlob(directory, text, mediaType),
      platform: { os, architecture, ...(variant !== undefined && { variant }) },
    };
    if (names.length === 0) manifests.push(manifest);
    for (const name of names) {
      const annotations = {
        "org.opencontainers.image.ref.name": splitName(name).tag,
        "io.containerd.image.name": name,
      };
      manifests.push({ ...manifest, annotations });
    }
  }
  return manifests;
}

/** The one that the image came with, when all that it names is there again; else one of our own. */
function manifestOf(
  storageRoot: string,
  { id }: StoredImage,
  config: Descriptor,
  layers: readonly Descriptor[],
): { text: string; mediaType: string } {
  const kept = readManifest(storageRoot, id);
  if (kept !== undefined) {
    const manifest = JSON.parse(kept) as { mediaType?: string; config: Descriptor; layers: Descriptor[] };
    const isSame = [manifest.config, ...manifest.layers].every(
      ({ digest }, i) => digest === (i === 0 ? config : layers[i - 1])?.digest,
    );
    if (isSame && manifest.layers.length === layers.length)
      return { text: kept, mediaType: manifest.mediaType ?? OCI_MANIFEST };
  }
  const text = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers });
  return { text, mediaType: OCI_MANIFEST };
}

const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";

function writeBlob(directory: string, text: string, mediaType: string): Descriptor {
  const digest = digestOf(text);
  const path = `${directory}/${hexOf(digest)}`;
  if (!existsSync(path)) placeFile(path, text);
  return { mediaType, digest, size: utf8Bytes(text).length };
}

const LAYOUT = JSON.stringify({ imageLayoutVersion: "1.0.0" });

/** Into a directory: a new one, or a layout that there is, to which the images are added. */
async function saveLayout(
  storageRoot: string,
  images: readonly Saved[],
  path: string,
  compression: Compression | undefined,
): Promise<void> {
  if (path === "-")
    throw new TsrunError("an OCI image layout is a directory", { fix: "--format oci-archive writes a tar" });
  const isNew = !existsSync(path);
  const foreign = isNew
    ? []
    : readdirSync(path).filter((name) => !["blobs", "oci-layout", "index.json"].includes(name));
  if (foreign.length > 0 && !existsSync(`${path}/oci-layout`))
    throw new TsrunError(`${path} has other files in it and is no OCI image layout`, { fix: "name a new directory" });
  const blobs = `${path}/blobs/sha256`;
  mkdirSync(blobs, { mode: 0o755, recursive: true });
  const before = new Set(readdirSync(blobs));
  try {
    addToLayout(path, await writeBlobs(storageRoot, images, blobs, compression));
  } catch (error) {
    // On a full disk what is of no use would be in the way.
    if (isNew) removeTree(dirname(resolve(path)), basename(resolve(path)));
    else for (const name of readdirSync(blobs)) if (!before.has(name)) removeTree(blobs, name);
    throw error;
  }
}

function addToLayout(path: string, added: readonly Descriptor[]): void {
  const names = new Set(added.flatMap((descriptor) => Object.values(descriptor.annotations ?? {}).slice(0, 1)));
  const kept = existingManifests(path).filter(
    ({ annotations }) => !names.has(annotations?.["org.opencontainers.image.ref.name"] ?? ""),
  );
  placeFile(`${path}/oci-layout`, LAYOUT);
  placeFile(`${path}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [...kept, ...added] }));
}

function existingManifests(path: string): Descriptor[] {
  try {
    const index = JSON.parse(readFileSync(`${path}/index.json`)) as { manifests?: Descriptor[] };
    return index.manifests ?? [];
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw new TsrunError(`${path}/index.json cannot be read`, { cause: error });
  }
}

/** Writes a file that appears whole. */
function placeFile(path: string, text: string): void {
  const temporary = `${path}.new`;
  try {
    using file = new Fd(open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0o644));
    write(file.fd, text, path);
    fsync(file.fd, path);
    renameSync(temporary, path);
  } catch (error) {
    unlinkQuiet(temporary);
    throw error;
  }
}

async function writeAside(...[storageRoot, ...args]: Parameters<typeof writeBlobs>): Promise<Descriptor[]> {
  try {
    return await writeBlobs(storageRoot, ...args);
  } catch (error) {
    throw withStoreFix(error, storageRoot);
  }
}

async function saveArchive(
  storageRoot: string,
  images: readonly Saved[],
  out: Output,
  compression: Compression | undefined,
): Promise<void> {
  // Sizes and digests come before the content, so the blobs are written aside first.
  using work = new WorkDirectory(storageRoot);
  const manifests = await writeAside(storageRoot, images, `${work.path}/diff`, compression);
  out.head("blobs/", 0, "directory");
  out.head("blobs/sha256/", 0, "directory");
  for (const name of readdirSync(`${work.path}/diff`).sort()) {
    using file = new Fd(open(`${work.path}/diff/${name}`, O_RDONLY));
    const { size } = statx(file.fd, "");
    out.head(`blobs/sha256/${name}`, size);
    for (const piece of fileBytes(file.fd, 0, size)) out.write(piece);
    out.pad(size);
  }
  out.file("index.json", JSON.stringify({ schemaVersion: 2, manifests }));
  out.file("oci-layout", LAYOUT);
}
