/**
 * The blob that a layer came as, beside its record: where its tar cannot be put together again, and where somebody wants to
 * give it back with the digest it had (`--keep-blobs`), since nobody compresses as somebody else did.
 */
import { TsrunError } from "../errors.ts";
import { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, statx, write } from "../sys/file.ts";
import { existsSync, renameSync } from "../sys/fs.ts";
import { type Compression, compressionOf, decompressed, fileBytes } from "./compression.ts";
import { type Digest, hexOf, Sha256 } from "./digest.ts";
import type { Blob } from "./image-source.ts";
import { hasLayer } from "./layerdb.ts";
import { chainDir } from "./layout.ts";
import { lockStore, syncStore, WorkDirectory } from "./store-lock.ts";

/** Copies it into the directory that becomes a layer. */
export function keepBlob(blob: Blob, work: WorkDirectory): void {
  using file = new Fd(open(`${work.path}/blob`, O_WRONLY | O_CREAT | O_EXCL, 0o600));
  for (const piece of fileBytes(blob.fd, blob.offset, blob.size, blob.path)) write(file.fd, piece);
}

/** @throws TsrunError when the bytes have not this digest */
export function checkBlob(blob: Blob, wanted: Digest): void {
  const hash = new Sha256();
  for (const piece of fileBytes(blob.fd, blob.offset, blob.size, blob.path)) hash.update(piece);
  const digest = hash.digest();
  if (digest !== wanted) throw new TsrunError(`${blob.path} is damaged: its digest is ${digest}, not ${wanted}`);
}

/** Gives a layer that the store has its blob, unless it has one. @throws TsrunError for the blob of another layer */
export async function addBlob(
  storageRoot: string,
  { chainId, diffId }: { chainId: Digest; diffId: Digest },
  blob: Blob,
): Promise<void> {
  const place = `${chainDir(storageRoot, hexOf(chainId))}/blob`;
  if (existsSync(place)) return;
  if (blob.digest !== undefined) checkBlob(blob, blob.digest);
  const compression = compressionOf(preadFull(blob.fd, new Uint8Array(8), blob.offset, blob.path));
  const hash = new Sha256();
  for await (const piece of decompressed(fileBytes(blob.fd, blob.offset, blob.size, blob.path), compression))
    hash.update(piece);
  if (hash.digest() !== diffId) throw new TsrunError(`${blob.path} has the diff ID ${hash.digest()}, not ${diffId}`);
  using work = new WorkDirectory(storageRoot);
  keepBlob(blob, work);
  syncStore(storageRoot);
  using _lock = lockStore(storageRoot);
  if (hasLayer(storageRoot, chainId)) renameSync(`${work.path}/blob`, place);
}

/** The blob of a layer, as it is; undefined when none was kept, or one that is compressed otherwise than asked for. */
export function keptBlob(storageRoot: string, chainId: Digest, wanted: Compression | undefined): KeptBlob | undefined {
  const path = `${chainDir(storageRoot, hexOf(chainId))}/blob`;
  if (!existsSync(path)) return undefined;
  const file = new Fd(open(path, O_RDONLY));
  const compression = compressionOf(preadFull(file.fd, new Uint8Array(8), 0, path));
  if (wanted === undefined || wanted === compression) {
    const { size } = statx(file.fd, "");
    return {
      compression,
      bytes: () => fileBytes(file.fd, 0, size, path),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  }
  file[Symbol.dispose]();
  return undefined;
}

export interface KeptBlob extends Disposable {
  compression: Compression;
  bytes(): Iterable<Uint8Array>;
}
