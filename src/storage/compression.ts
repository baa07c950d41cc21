/**
 * Streams of bytes: read from a file, taken out of and put into gzip and zstd. Memory stays the same however long
 * they are. zstd is part of Bun and of Node from 22.15 on; on an older Node the program zstd does it.
 */
import { spawn } from "node:child_process";
import { Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as zlib from "node:zlib";
import { TsrunError } from "../errors.ts";
import { preadFull } from "../sys/entries.ts";

export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
export type Compression = "none" | "gzip" | "zstd";

const CHUNK = 1 << 18;

/** A part of a file, piece by piece. */
export function* fileBytes(fd: number, offset: number, size: number, path?: string): Generator<Uint8Array> {
  let at = offset;
  const end = offset + size;
  while (at < end) {
    // A new buffer each time: the piece before may still be in work.
    const piece = preadFull(fd, new Uint8Array(Math.min(CHUNK, end - at)), at, path);
    if (piece.length === 0) throw new TsrunError(`${path ?? "a file"} is shorter than it was`);
    at += piece.length;
    yield piece;
  }
}

/**
 * How the beginning of a stream says that it is compressed.
 *
 * @throws TsrunError for what is compressed otherwise
 */
export function compressionOf(head: Uint8Array): Compression {
  const starts = (...bytes: number[]) => bytes.every((byte, i) => head[i] === byte);
  if (starts(0x1f, 0x8b)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0x42, 0x5a, 0x68)) throw unsupported("bzip2");
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) throw unsupported("xz");
  return "none";
}

function unsupported(name: string): TsrunError {
  return new TsrunError(`it is compressed with ${name}, which no image format has`, {
    fix: "decompress it first, or use gzip or zstd",
  });
}

export async function* decompressed(source: Bytes, compression: Compression): AsyncGenerator<Uint8Array> {
  if (compression === "none") yield* source;
  else if (compression === "gzip") yield* through(source, zlib.createGunzip({ chunkSize: CHUNK }), "gzip");
  else yield* through(source, zstdStream("decompress"), "zstd");
}

export async function* compressed(source: Bytes, compression: Compression): AsyncGenerator<Uint8Array> {
  if (compression === "none") yield* source;
  // The same bytes for the same content: no time, no name.
  else if (compression === "gzip") yield* through(source, zlib.createGzip({ chunkSize: CHUNK, level: 6 }), "gzip");
  else yield* through(source, zstdStream("compress"), "zstd");
}

type Transform = NodeJS.ReadWriteStream;

async function* through(source: Bytes, transform: Transform, name: string): AsyncGenerator<Uint8Array> {
  const feeding = pipeline(Readable.from(source as AsyncIterable<Uint8Array>, { objectMode: true }), transform);
  // It is looked at below; until then a failure must not count as unhandled.
  feeding.catch(() => {});
  try {
    for await (const chunk of transform) yield chunk as unknown as Uint8Array;
    await feeding;
  } catch (error) {
    throw isDamage(error) ? new TsrunError(`its ${name} is damaged: ${error.message}`) : error;
  }
}

/** zlib's own errors have such codes. */
function isDamage(error: unknown): error is Error {
  return error instanceof Error && /^(Z|ZSTD|ERR)_/.test((error as { code?: string }).code ?? "");
}

type ZstdFactory = (options?: object) => Transform;

function zstdStream(direction: "compress" | "decompress"): Transform {
  const module = zlib as unknown as Record<string, ZstdFactory | undefined>;
  const factory = direction === "compress" ? module.createZstdCompress : module.createZstdDecompress;
  return factory === undefined ? zstdProgram(direction) : factory({ chunkSize: CHUNK });
}

/** The program zstd as a stream. */
function zstdProgram(direction: "compress" | "decompress"): Transform {
  const child = spawn("zstd", direction === "compress" ? ["-q", "-c"] : ["-q", "-d", "-c"], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const output = child.stdout;
  const fail = (error: Error) => output.destroy(error);
  child.on("error", () =>
    fail(new TsrunError("zstd cannot be run", { fix: "apt-get install zstd, or use Node 22.15 or newer" })),
  );
  child.on("close", (code) => {
    if (code !== 0) fail(new TsrunError(`zstd: ${said.trim() || `exit code ${code}`}`));
  });
  // Its end by itself also ends our writing.
  child.stdin.on("error", () => {});
  return Duplex.from({ writable: child.stdin, readable: output }) as unknown as Transform;
}

/** Every byte of a text stream that is small by its nature. @throws TsrunError when it is not */
export async function collect(source: Bytes, most: number, what: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of source) {
    length += part.length;
    if (length > most) throw new TsrunError(`${what} is larger than ${most} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Writes a skeleton (tar/reader.ts) as gzip members of one megabyte each: one after the other they are one stream. */
export function gzipMember(bytes: Uint8Array): Uint8Array {
  return zlib.gzipSync(bytes, { level: 1 });
}
