/**
 * Reads a tar archive that is pushed into it piece by piece; keeps no more than one header of it.
 *
 * Two streams come out: the content of the files, and the skeleton, which is all the rest byte for byte (headers,
 * padding, what lies behind the end). A skeleton pushed into a reader that was told so, together with the
 * files, gives the archive back exactly as it was.
 */
import { byteName } from "./bytes.ts";
import {
  BLOCK,
  checkSparse,
  type EntryType,
  isZeroBlock,
  type PaxRecords,
  paxAcls,
  paxNumber,
  paxText,
  paxTime,
  paxXattrs,
  type RawHeader,
  readHeader,
  readNumber,
  readPax,
  readSparsePieces,
  type SparseMap,
  type TarEntry,
  TarError,
} from "./header.ts";

export interface TarSink {
  /** Bytes that are not content of a file, before anything that they are about. They are the reader's again afterwards. */
  skeleton?(bytes: Uint8Array): void;
  /** An entry. For a file `data` follows, then `end`; a reader of a skeleton has no `data`. */
  entry(entry: TarEntry): void;
  data?(bytes: Uint8Array): void;
  end?(entry: TarEntry): void;
}

/** The most that an extended header, a long name or a sparse map may have. */
const MAX_META = 1 << 20;

const TYPES: Readonly<Record<string, EntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  S: "file",
  "1": "link",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  // GNU's directory of an incremental dump: the names in it are its content, and are left out.
  D: "directory",
};

type State = "header" | "meta" | "sparse" | "sparse-map" | "content" | "skip" | "rest";

export class TarReader {
  readonly #sink: TarSink;
  readonly #isSkeleton: boolean;
  #state: State = "header";
  /** Bytes of the archive (or of the skeleton) so far. */
  #at = 0;
  /** What is being collected: a header, an extended header. */
  #held: Uint8Array = new Uint8Array(BLOCK);
  #filled = 0;
  /** What is left of content or of what is skipped, and the padding after content. */
  #left = 0;
  #padding = 0;
  #meta = "";
  #metaSize = 0;
  #pax: PaxRecords = new Map();
  #longName: string | undefined;
  #longLink: string | undefined;
  #zeroBlocks = 0;
  #entry: TarEntry | undefined;
  #header: RawHeader | undefined;
  #pieces: SparseMap["pieces"] = [];
  #realSize = 0;

  /** @param isSkeleton what is pushed has no content of files */
  constructor(sink: TarSink, { isSkeleton = false } = {}) {
    this.#sink = sink;
    this.#isSkeleton = isSkeleton;
  }

  /** How many bytes the next step needs; for a caller that jumps over content. */
  get wanted(): number {
    if (this.#state === "content" || this.#state === "skip") return this.#left;
    if (this.#state === "rest") return BLOCK;
    return this.#held.length - this.#filled;
  }

  /** The two blocks of zeros that end an archive were seen. */
  get isOver(): boolean {
    return this.#state === "rest";
  }

  /** @throws TarError */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === "rest") {
        this.#pass(chunk.subarray(at));
        return;
      }
      if (this.#state === "content" || this.#state === "skip") {
        const piece = chunk.subarray(at, at + Math.min(this.#left, chunk.length - at));
        at += piece.length;
        this.#left -= piece.length;
        if (this.#state === "skip") this.#pass(piece);
        else {
          this.#at += piece.length;
          this.#sink.data?.(piece);
        }
        if (this.#left === 0) this.#finish();
        continue;
      }
      // A whole block at once, as it mostly is, is not copied.
      const count = Math.min(this.#held.length - this.#filled, chunk.length - at);
      const isWhole = this.#filled === 0 && count === this.#held.length;
      const piece = chunk.subarray(at, at + count);
      if (!isWhole) this.#held.set(piece, this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled < this.#held.length) continue;
      const block = isWhole ? piece : this.#held;
      this.#filled = 0;
      const start = this.#at;
      this.#pass(block);
      this.#take(block, start);
    }
  }

  /** @throws TarError when the archive ends where it cannot */
  finish(): void {
    const isFine = this.#state === "rest" || (this.#state === "header" && this.#filled === 0 && this.#pax.size === 0);
    if (isFine) return;
    const what = this.#state === "content" || this.#state === "skip" ? "the content of a file" : "a header";
    throw new TarError(`the archive ends after ${this.#at + this.#filled} bytes, in the middle of ${what}`);
  }

  #pass(bytes: Uint8Array): void {
    this.#at += bytes.length;
    this.#sink.skeleton?.(bytes);
  }

  #take(block: Uint8Array, at: number): void {
    if (this.#state === "meta") this.#takeMeta(block, at);
    else if (this.#state === "sparse") this.#takeSparse(block, at);
    else if (this.#state === "sparse-map") this.#takeSparseMap(block, at);
    else this.#takeHeader(block, at);
  }

  #takeHeader(block: Uint8Array, at: number): void {
    if (isZeroBlock(block)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = "rest";
      return;
    }
    this.#zeroBlocks = 0;
    const header = readHeader(block, at);
    if (header.size < 0) throw new TarError(`the entry at byte ${at} has a negative size`);
    if ("xgLKX".includes(header.flag)) {
      this.#collect(header);
      return;
    }
    this.#header = header;
    this.#pieces = [];
    if (header.flag !== "S") {
      this.#begin(header, at);
      return;
    }
    this.#pieces = readSparsePieces(block, 386, 4, at);
    this.#realSize = readNumber(block, 483, 12, at);
    if (block[482] === 0) this.#begin(header, at);
    else this.#state = "sparse";
  }

  /** The content of this one is about the next. */
  #collect({ flag, size }: RawHeader): void {
    if (size > MAX_META) throw new TarError(`an extended header of ${size} bytes is more than ${MAX_META}`);
    if (size === 0) return;
    this.#meta = flag;
    this.#metaSize = size;
    this.#held = new Uint8Array(roundUp(size));
    this.#state = "meta";
  }

  #takeMeta(block: Uint8Array, at: number): void {
    const content = block.subarray(0, this.#metaSize);
    this.#held = new Uint8Array(BLOCK);
    this.#state = "header";
    if (this.#meta === "L") this.#longName = untilNul(content);
    else if (this.#meta === "K") this.#longLink = untilNul(content);
    // A global header ("g") is about no entry: git archive keeps a comment there.
    else if (this.#meta !== "g") for (const [key, value] of readPax(content, at)) this.#pax.set(key, value);
  }

  #takeSparse(block: Uint8Array, at: number): void {
    this.#pieces.push(...readSparsePieces(block, 0, 21, at));
    if (this.#pieces.length * 24 > MAX_META) throw new TarError(`the sparse file at byte ${at} has too many pieces`);
    if (block[504] === 0) this.#begin(this.#header as RawHeader, at);
  }

  /** All that is about the entry is known, but for a sparse map that is in its content. */
  #begin(header: RawHeader, at: number): void {
    const pax = this.#pax;
    const type = TYPES[header.flag];
    if (type === undefined) {
      throw new TarError(`the entry at byte ${at} is of type ${JSON.stringify(header.flag)}, which is not known`);
    }
    const isFile = type === "file";
    const name = paxText(pax, "GNU.sparse.name") ?? paxText(pax, "path") ?? this.#longName ?? header.name;
    // Before POSIX a file with a slash at its end was a directory.
    const isOldDirectory = header.flag === "\0" && name.endsWith("/");
    const entry: TarEntry = {
      type: isOldDirectory ? "directory" : type,
      name,
      linkName: paxText(pax, "linkpath") ?? this.#longLink ?? header.linkName,
      mode: header.mode & 0o7777,
      uid: paxNumber(pax, "uid", at) ?? header.uid,
      gid: paxNumber(pax, "gid", at) ?? header.gid,
      // Other entries have no content, whatever their size says.
      size: isFile || header.flag === "D" ? (paxNumber(pax, "size", at) ?? header.size) : 0,
      mtime: paxTime(pax, "mtime", at) ?? { seconds: header.mtime, nanoseconds: 0 },
      devMajor: header.devMajor,
      devMinor: header.devMinor,
      xattrs: paxXattrs(pax),
    };
    const acls = paxAcls(pax, at);
    if (acls !== undefined) entry.acls = acls;
    if (name.includes("\0") || entry.linkName.includes("\0")) throw new TarError(`the name at byte ${at} has a NUL`);
    if (entry.uid < 0 || entry.gid < 0 || entry.uid > 0xfffffffe || entry.gid > 0xfffffffe)
      throw new TarError(`the entry at byte ${at} has an owner out of range`);
    this.#pax = new Map();
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#entry = entry;
    this.#left = entry.size;
    this.#padding = roundUp(entry.size) - entry.size;
    if (header.flag === "S") entry.sparse = { size: this.#realSize, pieces: this.#pieces };
    else if (isFile && pax.has("GNU.sparse.map")) entry.sparse = mapOfPax(pax, at);
    else if (isFile && paxText(pax, "GNU.sparse.major") === "1") {
      entry.sparse = { size: paxNumber(pax, "GNU.sparse.realsize", at) ?? 0, pieces: [] };
      this.#startMap();
      return;
    }
    this.#announce(at);
  }

  #announce(at: number): void {
    const entry = this.#entry as TarEntry;
    if (entry.sparse !== undefined) checkSparse(entry.sparse, this.#left, at);
    if (entry.sparse !== undefined) entry.size = this.#left;
    this.#sink.entry(entry);
    const isContent = entry.type === "file";
    if (isContent && this.#left > 0 && !this.#isSkeleton) {
      this.#state = "content";
      return;
    }
    if (isContent) {
      this.#left = 0;
      this.#state = "content";
    } else this.#state = "skip";
    if (this.#left === 0) this.#finish();
  }

  /** Content, or what was skipped, is over: padding follows content. */
  #finish(): void {
    const entry = this.#entry;
    if (this.#state === "content" && entry !== undefined) this.#sink.end?.(entry);
    this.#entry = undefined;
    this.#left = this.#padding;
    this.#padding = 0;
    this.#state = this.#left > 0 ? "skip" : "header";
  }

  // Format 1.0 has the map at the beginning of the content: how many pieces, then offset and length of each, a
  // line a number, filled up to a block.
  #mapBytes = new Uint8Array(0);

  #startMap(): void {
    this.#mapBytes = new Uint8Array(0);
    this.#held = new Uint8Array(BLOCK);
    this.#state = "sparse-map";
  }

  #takeSparseMap(block: Uint8Array, at: number): void {
    const all = new Uint8Array(this.#mapBytes.length + BLOCK);
    all.set(this.#mapBytes);
    all.set(block, this.#mapBytes.length);
    this.#mapBytes = all;
    this.#left -= BLOCK;
    if (this.#left < 0 || all.length > MAX_META) throw new TarError(`the sparse file at byte ${at} has a damaged map`);
    const lines = byteName(all).split("\n");
    const count = Number(lines[0]);
    if (lines.length > 1 && !/^[0-9]{1,6}$/.test(lines[0] as string))
      throw new TarError(`the sparse file at byte ${at} has a damaged map`);
    if (lines.length < 2 || lines.length < 2 + 2 * count) return;
    const pieces = pairs(lines.slice(1, 1 + 2 * count), at);
    (this.#entry as TarEntry).sparse = { size: this.#entry?.sparse?.size ?? 0, pieces };
    this.#announce(at);
  }
}

function mapOfPax(pax: PaxRecords, at: number): SparseMap {
  const size = paxNumber(pax, "GNU.sparse.size", at) ?? paxNumber(pax, "GNU.sparse.realsize", at) ?? 0;
  const map = paxText(pax, "GNU.sparse.map") ?? "";
  return { size, pieces: map === "" ? [] : pairs(map.split(","), at) };
}

function pairs(numbers: readonly string[], at: number): SparseMap["pieces"] {
  const pieces: SparseMap["pieces"] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset, length] = [numbers[i] ?? "", numbers[i + 1] ?? ""];
    if (!/^[0-9]{1,16}$/.test(offset) || !/^[0-9]{1,16}$/.test(length))
      throw new TarError(`the sparse file at byte ${at} has a damaged map`);
    pieces.push({ offset: Number(offset), length: Number(length) });
  }
  return pieces;
}

export function roundUp(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function untilNul(content: Uint8Array): string {
  const end = content.indexOf(0);
  return byteName(end === -1 ? content : content.subarray(0, end));
}
