/** One layer of an image as it comes, a blob or a tar, into a directory of its own: the files, and what else its tar is made of. */
import { TsrunError } from "../errors.ts";
import { O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, write } from "../sys/file.ts";
import { type Bytes, compressionOf, decompressed, fileBytes, gzipMember } from "./compression.ts";
import type { StoreContext } from "./context.ts";
import { type Digest, Sha256 } from "./digest.ts";
import { writeText } from "./files.ts";
import type { Blob } from "./image-source.ts";
import { checkBlob, keepBlob } from "./layer-blob.ts";
import type { WorkDirectory } from "./store-lock.ts";
import { TarReader } from "./tar/reader.ts";
import { LayerWriter } from "./unpack.ts";

export interface Unpacked {
  diffId: Digest;
  size: number;
  entries: number;
  /** See LayerWriter. */
  replaced: boolean;
  lost: ReadonlyMap<string, number>;
  /** The blocks that end a tar were there; without them it is one, too. */
  hasEnd: boolean;
}

export interface UnpackLayerOptions {
  /** Bytes of the blob read so far. */
  onBytes?: ((done: number) => void) | undefined;
  onWarning?: ((message: string) => void) | undefined;
  /** Keep the blob though its tar could be put together again. */
  keepBlobs?: boolean | undefined;
}

/**
 * Streams one layer into `work`: diff, skeleton.gz, and blob where that is needed.
 *
 * @throws TsrunError when the bytes have not the digest that `blob` names, or are no layer
 */
export async function unpackLayer(
  store: StoreContext,
  blob: Blob,
  work: WorkDirectory,
  lowers: readonly string[],
  { onBytes, onWarning, keepBlobs = false }: UnpackLayerOptions = {},
): Promise<Unpacked> {
  const compression = compressionOf(preadFull(blob.fd, new Uint8Array(8), blob.offset, blob.path));
  const outer = blob.digest === undefined || compression === "none" ? undefined : new Sha256();
  let done = 0;
  const counted = function* () {
    for (const piece of fileBytes(blob.fd, blob.offset, blob.size, blob.path)) {
      outer?.update(piece);
      done += piece.length;
      onBytes?.(done);
      yield piece;
    }
  };
  let unpacked: Unpacked;
  try {
    unpacked = await unpackStream(store, decompressed(counted(), compression), work, lowers);
  } catch (error) {
    // A damaged blob is often no tar any more: say so, in place of what that looks like.
    if (blob.digest !== undefined) checkBlob(blob, blob.digest);
    throw new TsrunError(`${blob.path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  if (blob.digest !== undefined) {
    // What comes after the compressed data is part of the blob, too.
    const digest = compression === "none" ? unpacked.diffId : done === blob.size ? outer?.digest() : undefined;
    if (digest !== blob.digest)
      throw new TsrunError(`${blob.path} is damaged: its digest is ${digest}, not ${blob.digest}`);
  }
  // Bun's zstd does not mind that the rest is missing, and a tar may end after any entry.
  if (blob.digest === undefined && compression === "zstd" && !unpacked.hasEnd)
    throw new TsrunError(`${blob.path} is cut off: the end of its tar is missing`);
  for (const [lost, count] of unpacked.lost) onWarning?.(`${blob.path}: ${count} times ${lost} could not be kept`);
  // A name that the archive has twice: the content of the first is gone.
  if (unpacked.replaced || keepBlobs) keepBlob(blob, work);
  return unpacked;
}

/** Unpacks an uncompressed tar into `work`: diff and skeleton.gz. */
export async function unpackStream(
  store: StoreContext,
  source: Bytes,
  work: WorkDirectory,
  lowers: readonly string[],
): Promise<Unpacked> {
  const hash = new Sha256();
  let tarSize = 0;
  using skeleton = new SkeletonFile(`${work.path}/skeleton.gz`);
  using root = new Fd(open(`${work.path}/diff`, O_RDONLY | O_DIRECTORY));
  const { space, idMap, unprivileged, userns } = store;
  using writer = new LayerWriter(root.fd, { lowers, space, idMap, unprivileged, userns }, (bytes) =>
    skeleton.add(bytes),
  );
  const reader = new TarReader(writer);
  for await (const piece of source) {
    hash.update(piece);
    tarSize += piece.length;
    reader.push(piece);
  }
  reader.finish();
  writer.finish();
  skeleton.finish();
  writeText(`${work.path}/tar-size`, String(tarSize));
  const { size, entries, replaced, lost } = writer;
  return { diffId: hash.digest(), size, entries, replaced, lost, hasEnd: reader.isOver };
}

/** Collects the skeleton of a tar, compressed. */
class SkeletonFile {
  readonly #file: Fd;
  readonly #buffer = new Uint8Array(1 << 20);
  #length = 0;

  constructor(path: string) {
    this.#file = new Fd(open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600));
  }

  add(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) {
      const part = rest.subarray(0, this.#buffer.length - this.#length);
      this.#buffer.set(part, this.#length);
      this.#length += part.length;
      rest = rest.subarray(part.length);
      if (this.#length === this.#buffer.length) this.finish();
    }
  }

  finish(): void {
    if (this.#length > 0) write(this.#file.fd, gzipMember(this.#buffer.subarray(0, this.#length)));
    this.#length = 0;
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
