/**
 * Images outside of the store: an OCI image layout (a directory, or a tar of one) and the archive of `docker save`.
 * Rules: OCI image-spec image-layout.md, image-index.md, manifest.md; the manifest.json of docker save.
 */
import { isErrno, TsrunError } from "../errors.ts";
import { basename } from "../path.ts";
import { utf8Text } from "../sys/call.ts";
import { resolveInRoot } from "../sys/confined.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  S_IFMT,
  S_IFREG,
} from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, read, statx, write } from "../sys/file.ts";
import { statSync } from "../sys/fs.ts";
import { type ArchiveFile, indexArchive } from "./archive-index.ts";
import { type Compression, compressionOf, decompressed, fileBytes } from "./compression.ts";
import { checkDigest, type Digest, digestOf, hexOf } from "./digest.ts";
import { isObject, MAX_JSON, parseJson } from "./image-config.ts";
import { TarError } from "./tar/header.ts";
import { TarReader } from "./tar/reader.ts";

/** A part of an open file. */
export interface Blob {
  fd: number;
  offset: number;
  size: number;
  /** For errors. */
  path: string;
  /** What its bytes must have, compressed as they are. */
  digest?: Digest;
}

export interface SourceImage {
  configText: string;
  /** Of an OCI layout, byte for byte. */
  manifestText?: string;
  layers: Blob[];
  /** Names as the source gives them: complete ones, or a tag alone. */
  names: string[];
  /** "os/architecture[/variant]". */
  platform: string;
}

/** In the words of the OCI image-spec: "linux", "amd64". */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string | undefined;
}

export function hostPlatform(): Platform {
  return { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
}

export interface SourceOptions {
  /** Only the image of this name or tag. */
  reference?: string | undefined;
  /** Which of the images of an index; "all" takes every one. */
  platform: Platform | "all";
}

export type SourceKind = "oci" | "docker-archive" | "rootfs";

/** An opened source; disposing of it closes its files. */
class ImageSource {
  readonly kind: SourceKind;
  readonly path: string;
  readonly #root: Fd;
  readonly #files: Map<string, ArchiveFile> | undefined;
  readonly #open: Fd[] = [];
  readonly size: number;

  constructor(path: string, root: Fd, files: Map<string, ArchiveFile> | undefined, size: number) {
    this.path = path;
    this.#root = root;
    this.#files = files;
    this.size = size;
    const isThere = (name: string) => this.find(name) !== undefined;
    this.kind =
      isThere("oci-layout") && isThere("index.json") ? "oci" : isThere("manifest.json") ? "docker-archive" : "rootfs";
    if (this.kind === "rootfs" && files === undefined) {
      throw new TsrunError(`${path} is neither an OCI image layout nor a file`, {
        fix: "a layout has oci-layout and index.json in it",
      });
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open) fd[Symbol.dispose]();
    this.#root[Symbol.dispose]();
  }

  /** The whole of an archive, for a root filesystem. */
  whole(): Blob {
    return { fd: this.#root.fd, offset: 0, size: this.size, path: this.path };
  }

  /** A file of the source, or undefined when there is none. */
  find(name: string): Blob | undefined {
    const path = `${this.path}/${name}`;
    if (this.#files !== undefined) {
      const file = this.#files.get(name);
      return file === undefined ? undefined : { fd: this.#root.fd, ...file, path };
    }
    let place: number;
    try {
      place = resolveInRoot(this.#root.fd, name, O_RDONLY | O_NONBLOCK);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
      throw error;
    }
    const held = new Fd(place);
    this.#open.push(held);
    const found = statx(held.fd, "");
    if ((found.mode & S_IFMT) !== S_IFREG) throw new TsrunError(`${path} is no file`);
    return { fd: held.fd, offset: 0, size: found.size, path };
  }

  images(options: SourceOptions): SourceImage[] {
    const found = this.kind === "oci" ? this.#ociImages(options) : this.#dockerImages(options);
    if (found.length > 0) return found;
    const wanted = options.reference === undefined ? "" : ` named ${JSON.stringify(options.reference)}`;
    const platform = options.platform === "all" ? "" : ` for ${platformText(options.platform)}`;
    throw new TsrunError(`${this.path} has no image${wanted}${platform}`, {
      fix: "--platform OS/ARCH or --platform all",
    });
  }

  #ociImages(options: SourceOptions): SourceImage[] {
    const layout = parseJson(this.#text("oci-layout"), `${this.path}/oci-layout`);
    const version = isObject(layout) ? layout.imageLayoutVersion : undefined;
    if (version !== "1.0.0")
      throw new TsrunError(`${this.path} is an OCI image layout of version ${JSON.stringify(version)}, not 1.0.0`);
    const index = parseJson(this.#text("index.json"), `${this.path}/index.json`);
    const images = new Map<Digest, SourceImage>();
    for (const descriptor of descriptors(index, "manifests", `${this.path}/index.json`)) {
      const names = namesOf(descriptor);
      if (options.reference !== undefined && !names.some((name) => isReference(name, options.reference as string)))
        continue;
      for (const image of this.#manifests(descriptor, options, 0)) {
        const known = images.get(image.id);
        if (known === undefined) images.set(image.id, { ...image.image, names });
        else known.names.push(...names);
      }
    }
    return [...images.values()];
  }

  /** The images behind a descriptor: one, or those of a list of manifests for the platform. */
  #manifests(descriptor: Descriptor, options: SourceOptions, depth: number): { id: Digest; image: SourceImage }[] {
    if (depth > 4) throw new TsrunError(`${this.path}: an index in an index in an index, and so on`);
    // BuildKit's record of how an image was built looks like one.
    if (descriptor.annotations["vnd.docker.reference.type"] === "attestation-manifest") return [];
    if (!isWanted(descriptor.platform, options.platform)) return [];
    const text = this.#blobText(descriptor, "manifest");
    const manifest = parseJson(text, `manifest ${descriptor.digest}`);
    const what = `manifest ${descriptor.digest}`;
    if (isObject(manifest) && Array.isArray(manifest.manifests)) {
      const found = descriptors(manifest, "manifests", what).flatMap((inner) =>
        this.#manifests(inner, options, depth + 1),
      );
      return options.platform === "all" ? found : found.slice(0, 1);
    }
    const [config] = descriptors({ list: isObject(manifest) ? [manifest.config] : [] }, "list", what);
    if (config === undefined || !isObject(manifest)) throw new TsrunError(`${what} has no config`);
    // What is no image for containers (a signature, a chart) has another config.
    if (!/^application\/vnd\.(oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/.test(config.mediaType))
      return [];
    const layers = descriptors(manifest, "layers", what).map((layer): Blob => {
      const blob = this.#blob(layer, "layer");
      return { ...blob, digest: layer.digest };
    });
    const configText = this.#blobText(config, "config");
    const platform = platformOfConfig(configText);
    if (!isWanted(platform, options.platform)) return [];
    return [
      {
        id: config.digest,
        image: { configText, manifestText: text, layers, names: [], platform: platformText(platform) },
      },
    ];
  }

  #dockerImages(options: SourceOptions): SourceImage[] {
    const what = `${this.path}/manifest.json`;
    const manifest = parseJson(this.#text("manifest.json"), what);
    if (isObject(manifest) && manifest.schemaVersion !== undefined)
      throw new TsrunError(`${this.path} is a directory of skopeo's transport dir:, no OCI image layout`, {
        fix: `tsrun image pull dir:${this.path} NAME`,
      });
    if (!Array.isArray(manifest)) throw new TsrunError(`${what} is no list`);
    return manifest.flatMap((image: unknown) => {
      const { Config, Layers, RepoTags } = isObject(image) ? image : {};
      if (typeof Config !== "string" || !isStrings(Layers))
        throw new TsrunError(`${what}: an image without Config or Layers`);
      const names = isStrings(RepoTags) ? RepoTags : [];
      if (options.reference !== undefined && !names.some((name) => isReference(name, options.reference as string)))
        return [];
      const configText = this.#text(Config);
      const layers = Layers.map((name) => {
        const layer = this.find(clean(name));
        if (layer === undefined) throw new TsrunError(`${this.path} has no ${JSON.stringify(name)}, a layer of it`);
        return layer;
      });
      return [{ configText, layers, names, platform: platformText(platformOfConfig(configText)) }];
    });
  }

  #text(name: string): string {
    const file = this.find(clean(name));
    if (file === undefined) throw new TsrunError(`${this.path} has no ${JSON.stringify(name)}`);
    return utf8Text(contentOf(file));
  }

  #blob(descriptor: Descriptor, what: string): Blob {
    const file = this.find(`blobs/sha256/${hexOf(descriptor.digest)}`);
    if (file === undefined) throw new TsrunError(`${this.path} has no ${what} ${descriptor.digest}`);
    if (file.size !== descriptor.size)
      throw new TsrunError(`${what} ${descriptor.digest} has ${file.size} bytes, not ${descriptor.size}`);
    return file;
  }

  #blobText(descriptor: Descriptor, what: string): string {
    const bytes = contentOf(this.#blob(descriptor, what));
    if (digestOf(bytes) !== descriptor.digest)
      throw new TsrunError(`${what} ${descriptor.digest} is damaged: its digest is ${digestOf(bytes)}`);
    return utf8Text(bytes);
  }
}

interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations: Record<string, unknown>;
  platform: Platform | undefined;
}

function descriptors(value: unknown, field: string, what: string): Descriptor[] {
  const list = isObject(value) ? value[field] : undefined;
  if (!Array.isArray(list)) throw new TsrunError(`${what}: ${field} is no list`);
  return list.map((item: unknown, i) => {
    if (!isObject(item)) throw new TsrunError(`${what}: ${field}[${i}] is no object`);
    const { mediaType, digest, size, annotations, platform } = item;
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
      throw new TsrunError(`${what}: ${field}[${i}].size is no size`);
    return {
      mediaType: typeof mediaType === "string" ? mediaType : "",
      digest: checkDigest(digest, `${what}: ${field}[${i}]`),
      size,
      annotations: isObject(annotations) ? annotations : {},
      platform: platformOf(platform),
    };
  });
}

function platformOf(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== "string" || typeof architecture !== "string") return undefined;
  return { os, architecture, ...(typeof variant === "string" && { variant }) };
}

function platformOfConfig(text: string): Platform {
  return platformOf(parseJson(text, "a config")) ?? { os: "", architecture: "" };
}

function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === "" ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** One without a platform is wanted: it is the only one of its kind. A variant counts where both name one. */
function isWanted(have: Platform | undefined, wanted: Platform | "all"): boolean {
  if (wanted === "all" || have === undefined) return true;
  if (have.os !== wanted.os || have.architecture !== wanted.architecture) return false;
  return have.variant === undefined || wanted.variant === undefined || have.variant === wanted.variant;
}

function namesOf({ annotations }: Descriptor): string[] {
  const name = annotations["io.containerd.image.name"] ?? annotations["org.opencontainers.image.ref.name"];
  return typeof name === "string" && name !== "" ? [name] : [];
}

function isReference(name: string, reference: string): boolean {
  return name === reference || name.endsWith(`:${reference}`) || name === `${reference}:latest`;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function clean(name: string): string {
  return name.replace(/^(\.?\/)+/, "");
}

function contentOf({ fd, offset, size, path }: Blob): Uint8Array {
  if (size > MAX_JSON) throw new TsrunError(`${path} has ${size} bytes, more than ${MAX_JSON}`);
  return preadFull(fd, new Uint8Array(size), offset, path);
}

/**
 * Opens a source.
 *
 * @param path "-" is standard input
 * @param spool a directory of the store: what cannot be read in place is written there first
 * @param isTar it is the tar of one layer, whatever is in it
 */
export async function openSource(path: string, spool: string, { isTar = false } = {}): Promise<ImageSource> {
  const stats = path === "-" ? undefined : statSync(path);
  if (path !== "-" && stats === undefined) throw notThere(path);
  if (stats?.isDirectory()) {
    if (isTar) throw new TsrunError(`${path} is a directory, not a tar`);
    return new ImageSource(path, new Fd(open(path, O_PATH | O_DIRECTORY)), undefined, 0);
  }
  const name = path === "-" ? "standard input" : path;
  const input = path === "-" ? 0 : open(path, O_RDONLY);
  let file = stats?.isFile() ? new Fd(input) : spooled(input, spool);
  try {
    let size = statx(file.fd, "").size;
    const compression = compressionOf(preadFull(file.fd, new Uint8Array(8), 0, name));
    // The tar of a root filesystem is read as it is; files are looked for in an archive of images alone.
    if (isTar || !(await isImageArchive(file.fd, size, compression, name)))
      return new ImageSource(name, file, new Map(), size);
    if (compression !== "none") {
      const plain = spoolFile(spool);
      for await (const piece of decompressed(fileBytes(file.fd, 0, size, name), compression)) write(plain.fd, piece);
      file[Symbol.dispose]();
      file = plain;
      size = statx(file.fd, "").size;
    }
    return new ImageSource(name, file, indexArchive(file.fd, size, name), size);
  } catch (error) {
    file[Symbol.dispose]();
    if (!(error instanceof TsrunError) || error.message.includes(basename(name))) throw error;
    throw new TsrunError(`${name}: ${error.message}`, { cause: error });
  }
}

function notThere(path: string): TsrunError {
  const [, before = "", after = ""] = /^(.+):([^:/]+)$/.exec(path) ?? [];
  // As umoci and skopeo name an image in a layout.
  const fix = before !== "" && statSync(before) !== undefined ? `${before} does: --reference ${after}` : undefined;
  return new TsrunError(`${path} does not exist`, fix === undefined ? {} : { fix });
}

/** Names with which archives of images begin: an OCI image layout, docker save in its versions. */
const IMAGE_FILES =
  /^(\.\/)?(oci-layout|index\.json|manifest\.json|repositories|blobs\/?.*|(sha256:)?[0-9a-f]{64}([/.].*)?)$/;

/** Does this begin as archives of images do? Among the first four names one must be theirs. */
async function isImageArchive(fd: number, size: number, compression: Compression, path: string): Promise<boolean> {
  const names: string[] = [];
  const reader = new TarReader({ entry: ({ name }) => names.push(name) });
  if (size === 0) throw new TsrunError(`${path} is empty: not even the end of a tar is in it`);
  try {
    for await (const piece of decompressed(fileBytes(fd, 0, size, path), compression)) {
      reader.push(piece);
      if (names.length >= 4 || reader.isOver) break;
    }
  } catch (cause) {
    if (!(cause instanceof TarError) || !cause.message.startsWith("the header at byte 0 ")) throw cause;
    throw new TarError(`${path} is no tar: ${cause.message}`, { cause });
  }
  return names.slice(0, 4).some((name) => IMAGE_FILES.test(name));
}

function spooled(fd: number, spool: string): Fd {
  const file = spoolFile(spool);
  const buffer = new Uint8Array(1 << 18);
  for (;;) {
    const count = read(fd, buffer, "standard input");
    if (count === 0) return file;
    write(file.fd, buffer.subarray(0, count));
  }
}

let spools = 0;

function spoolFile(spool: string): Fd {
  return new Fd(open(`${spool}/spool-${spools++}`, O_RDWR | O_CREAT | O_EXCL, 0o600));
}
