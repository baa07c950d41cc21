/**
 * One header of a tar archive, read. Pure.
 * Rules: POSIX pax ("ustar Interchange Format", "pax Extended Header"); GNU tar manual "Basic Tar Format" and
 * "Storing Sparse Files"; star's SCHILY.xattr.* records, which the OCI image-spec (layer.md) takes over, and SCHILY.acl.*.
 */
import { TsrunError } from "../../errors.ts";
import { ACL_RECORDS, type AclEntry, type Acls, parseAcl } from "./acl.ts";
import { byteName, nameBytes } from "./bytes.ts";

export const BLOCK = 512;

export type EntryType = "file" | "directory" | "symlink" | "link" | "char" | "block" | "fifo";

export interface TarEntry {
  type: EntryType;
  /** As in the archive, one character a byte. */
  name: string;
  /** Target of a link, one character a byte. */
  linkName: string;
  /** Permissions and setuid, setgid, sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content in the archive. */
  size: number;
  mtime: { seconds: number; nanoseconds: number };
  devMajor: number;
  devMinor: number;
  /** Names and values of extended attributes, one character a byte in the names. */
  xattrs: [string, Uint8Array][];
  /** ACLs in their text form; one that is among the attributes, too, is not here. */
  acls?: Acls;
  /** A file with holes: its length, and which pieces of it the content is. */
  sparse?: SparseMap;
}

export interface SparseMap {
  size: number;
  pieces: { offset: number; length: number }[];
}

/** What extended headers before an entry say about it. */
export type PaxRecords = Map<string, Uint8Array>;

/** A header block as it stands there. */
export interface RawHeader {
  flag: string;
  /** GNU's format, whose last fields are other ones than ustar's. */
  isGnu: boolean;
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  devMajor: number;
  devMinor: number;
}

export class TarError extends TsrunError {}

export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** @throws TarError for a wrong checksum or a field that is no number */
export function readHeader(block: Uint8Array, at: number): RawHeader {
  checkSum(block, at);
  const magic = text(block, 257, 8);
  const isUstar = magic.startsWith("ustar");
  const isGnu = magic.startsWith("ustar ");
  const number = (offset: number, length: number) => readNumber(block, offset, length, at);
  let name = text(block, 0, 100);
  const prefix = isUstar && !isGnu ? text(block, 345, 155) : "";
  if (prefix !== "") name = `${prefix}/${name}`;
  const devices = isUstar ? [number(329, 8), number(337, 8)] : [0, 0];
  return {
    flag: String.fromCharCode(block[156] as number),
    isGnu,
    name,
    linkName: text(block, 157, 100),
    mode: number(100, 8),
    uid: number(108, 8),
    gid: number(116, 8),
    size: number(124, 12),
    mtime: number(136, 12),
    devMajor: devices[0] as number,
    devMinor: devices[1] as number,
  };
}

function checkSum(block: Uint8Array, at: number): void {
  let sum = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    // The field itself counts as blanks.
    const byte = i >= 148 && i < 156 ? 0x20 : (block[i] as number);
    sum += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const digits = text(block, 148, 8).trim();
  const wanted = /^[0-7]{1,7}$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  // Old programs summed signed characters.
  if (wanted !== sum && wanted !== signed) throw new TarError(`the header at byte ${at} has a wrong checksum`);
}

/** A field that ends at its first NUL. */
function text(block: Uint8Array, offset: number, length: number): string {
  let end = offset;
  while (end < offset + length && block[end] !== 0) end++;
  return byteName(block.subarray(offset, end));
}

/** Octal digits, or, where the first bit is set, a number to the base of 256 in two's complement. */
export function readNumber(block: Uint8Array, offset: number, length: number, at: number): number {
  const first = block[offset] as number;
  if (first >= 0x80) {
    const isNegative = (first & 0x40) !== 0;
    let value = isNegative ? first - 256 : first & 0x7f;
    for (let i = offset + 1; i < offset + length; i++) value = value * 256 + (block[i] as number);
    if (!Number.isSafeInteger(value)) throw new TarError(`the header at byte ${at} has a number out of range`);
    return value;
  }
  const digits = text(block, offset, length).trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw new TarError(`the header at byte ${at} has a field that is no octal number`);
  return Number.parseInt(digits, 8);
}

/** The pieces of GNU's old sparse format that one block has, from `offset` on. */
export function readSparsePieces(block: Uint8Array, offset: number, count: number, at: number) {
  const pieces: SparseMap["pieces"] = [];
  for (let i = 0; i < count; i++) {
    if (block[offset + 24 * i] === 0) break;
    pieces.push({
      offset: readNumber(block, offset + 24 * i, 12, at),
      length: readNumber(block, offset + 24 * i + 12, 12, at),
    });
  }
  return pieces;
}

/**
 * The records of an extended header: "LENGTH KEY=VALUE\n", LENGTH being that of all of it.
 *
 * @throws TarError
 */
export function readPax(content: Uint8Array, at: number): PaxRecords {
  const records: PaxRecords = new Map();
  const sparse: string[] = [];
  let offset = 0;
  while (offset < content.length && content[offset] !== 0) {
    const blank = content.indexOf(0x20, offset);
    const digits = blank === -1 || blank - offset > 10 ? "" : byteName(content.subarray(offset, blank));
    const end = offset + Number(digits);
    const equals = content.indexOf(0x3d, blank);
    const isRecord = /^[1-9][0-9]*$/.test(digits) && equals !== -1 && equals < end && content[end - 1] === 0x0a;
    if (!isRecord || end > content.length) throw new TarError(`the extended header at byte ${at} is damaged`);
    const key = byteName(content.subarray(blank + 1, equals));
    const value = content.slice(equals + 1, end - 1);
    // GNU's sparse format 0.0 is the only one in which a key is there more than once.
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") sparse.push(byteName(value));
    else records.set(key, value);
    offset = end;
  }
  if (sparse.length > 0) records.set("GNU.sparse.map", nameBytes(sparse.join(",")));
  return records;
}

export function paxText(records: PaxRecords, key: string): string | undefined {
  const value = records.get(key);
  return value === undefined ? undefined : byteName(value);
}

/** @throws TarError for something else than a whole number from 0 on */
export function paxNumber(records: PaxRecords, key: string, at: number): number | undefined {
  const value = paxText(records, key);
  if (value === undefined || value === "") return undefined;
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new TarError(`the extended header at byte ${at}: ${key} is no number`);
  return number;
}

/** A time of an extended header: decimal seconds, perhaps with a fraction, perhaps negative. */
export function paxTime(records: PaxRecords, key: string, at: number): TarEntry["mtime"] | undefined {
  const value = paxText(records, key);
  if (value === undefined || value === "") return undefined;
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (match === null) throw new TarError(`the extended header at byte ${at}: ${key} is no time`);
  const whole = Number(match[2]);
  const nanoseconds = Number((match[3] ?? "").slice(0, 9).padEnd(9, "0"));
  if (match[1] === "") return { seconds: whole, nanoseconds };
  return nanoseconds === 0 ? { seconds: -whole, nanoseconds } : { seconds: -whole - 1, nanoseconds: 1e9 - nanoseconds };
}

const XATTR = "SCHILY.xattr.";

export function paxXattrs(records: PaxRecords): [string, Uint8Array][] {
  const found: [string, Uint8Array][] = [];
  for (const [key, value] of records) if (key.startsWith(XATTR)) found.push([key.slice(XATTR.length), value]);
  return found;
}

/** @throws TarError for what is no ACL */
export function paxAcls(records: PaxRecords, at: number): Acls | undefined {
  const found = new Map<string, AclEntry[]>();
  for (const [record, xattr] of ACL_RECORDS) {
    const text = paxText(records, record);
    if (text === undefined || records.has(XATTR + xattr)) continue;
    const entries = parseAcl(text);
    if (typeof entries === "string") throw new TarError(`the extended header at byte ${at}: ${record}: ${entries}`);
    if (entries.length > 0) found.set(xattr, entries);
  }
  return found.size > 0 ? found : undefined;
}

/**
 * Holds a sparse map to what it has to be: pieces in order, none beyond the end, as many bytes as there are.
 *
 * @throws TarError
 */
export function checkSparse({ size, pieces }: SparseMap, content: number, at: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of pieces) {
    if (offset < end || !Number.isSafeInteger(offset + length)) throw damaged(at);
    end = offset + length;
    sum += length;
  }
  if (end > size || sum !== content) throw damaged(at);
}

function damaged(at: number): TarError {
  return new TarError(`the sparse file at byte ${at} has a damaged map`);
}
