/**
 * The tar of a layer, byte for byte as it was imported: its skeleton (or the blob that was kept), and the content of the
 * files as they lie in the layer. A layer of our own making (commit) is stored the same way.
 */
import { TsrunError } from "../errors.ts";
import { resolveInRoot } from "../sys/confined.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, S_IFMT, S_IFREG } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, open, openat, statx } from "../sys/file.ts";
import { existsSync } from "../sys/fs.ts";
import { compressionOf, decompressed, fileBytes } from "./compression.ts";
import { type Digest, hexOf, Sha256 } from "./digest.ts";
import { contentDir, type StoredLayer } from "./layerdb.ts";
import { chainDir } from "./layout.ts";
import { components, nameBytes, shown } from "./tar/bytes.ts";
import type { TarEntry } from "./tar/header.ts";
import { TarReader } from "./tar/reader.ts";

/** The uncompressed tar of a layer, piece by piece. @throws TsrunError when the layer is damaged */
export async function* layerTar(storageRoot: string, layer: StoredLayer): AsyncGenerator<Uint8Array> {
  const hash = new Sha256();
  for await (const piece of pieces(storageRoot, layer)) {
    hash.update(piece);
    yield piece;
  }
  const digest = hash.digest();
  if (digest !== layer.diffId)
    throw damaged(layer.chainId, `its content has the diff ID ${digest}, not ${layer.diffId}`);
}

function damaged(chainId: Digest, what: string): TsrunError {
  return new TsrunError(`layer ${chainId} is damaged: ${what}`, {
    fix: "remove the images that have it, and import them again",
  });
}

async function* pieces(storageRoot: string, layer: StoredLayer): AsyncGenerator<Uint8Array> {
  const record = chainDir(storageRoot, hexOf(layer.chainId));
  const path = existsSync(`${record}/blob`) ? `${record}/blob` : `${record}/skeleton.gz`;
  if (!existsSync(path)) throw damaged(layer.chainId, `${path} is lost`);
  using file = new Fd(open(path, O_RDONLY));
  const size = statx(file.fd, "").size;
  const compression = compressionOf(preadFull(file.fd, new Uint8Array(8), 0, path));
  const source = decompressed(fileBytes(file.fd, 0, size, path), compression);
  if (path.endsWith("/blob")) {
    yield* source;
    return;
  }
  using root = new Fd(open(contentDir(storageRoot, layer), O_PATH | O_DIRECTORY));
  const queue: (Uint8Array | TarEntry)[] = [];
  const reader = new TarReader(
    // Copied: the reader puts its next block into the same buffer.
    { skeleton: (bytes) => queue.push(bytes.slice()), entry: () => {}, end: (entry) => queue.push(entry) },
    { isSkeleton: true },
  );
  for await (const chunk of source) {
    reader.push(chunk);
    for (const item of queue.splice(0)) {
      if (item instanceof Uint8Array) yield item;
      else if (item.size > 0) yield* content(root.fd, item, layer);
    }
  }
  reader.finish();
}

function* content(root: number, entry: TarEntry, layer: StoredLayer): Generator<Uint8Array> {
  const name = shown(entry.name);
  using file = new Fd(openContent(root, entry, layer));
  const found = statx(file.fd, "");
  if ((found.mode & S_IFMT) !== S_IFREG) throw damaged(layer.chainId, `${name} is no file any more`);
  for (const { offset, length } of entry.sparse?.pieces ?? [{ offset: 0, length: entry.size }]) {
    if (offset + length > found.size) throw damaged(layer.chainId, `${name} is too short`);
    yield* fileBytes(file.fd, offset, length, name);
  }
}

function openContent(root: number, entry: TarEntry, layer: StoredLayer): number {
  const parts = components(entry.name) ?? [];
  const base = parts.pop();
  try {
    using directory = new Fd(resolveInRoot(root, nameBytes(parts.join("/")), O_PATH | O_DIRECTORY));
    return openat(directory.fd, nameBytes(base ?? "."), O_RDONLY | O_NOFOLLOW);
  } catch (error) {
    throw damaged(layer.chainId, error instanceof Error ? `${shown(entry.name)}: ${error.message}` : shown(entry.name));
  }
}
