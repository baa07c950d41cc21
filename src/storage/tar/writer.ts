/**
 * Headers of a tar archive, written: ustar where it suffices, pax records before it where not. The same entry
 * always gives the same bytes. Pure.
 */
import { utf8Bytes } from "../../sys/call.ts";
import { nameBytes } from "./bytes.ts";
import { BLOCK, type EntryType, type TarEntry } from "./header.ts";
import { roundUp } from "./reader.ts";

const FLAGS: Readonly<Record<EntryType, string>> = {
  file: "0",
  link: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

const OCTAL_11 = 0o77777777777;
const OCTAL_7 = 0o7777777;

/** The header blocks of an entry; the content and its padding follow. Holes are written out. */
export function formatHeader(entry: TarEntry): Uint8Array {
  const pax = paxRecords(entry);
  const head = block(entry);
  if (pax.length === 0) return head;
  const content = concat(pax);
  const extended = block({
    ...entry,
    type: "file",
    name: "PaxHeaders.0/entry",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: content.length,
    devMajor: 0,
    devMinor: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
  });
  extended[156] = 0x78; // "x"
  sum(extended);
  const padding = new Uint8Array(roundUp(content.length) - content.length);
  return concat([extended, content, padding, head]);
}

/** What ends an archive. */
export const TRAILER = new Uint8Array(2 * BLOCK);

function paxRecords(entry: TarEntry): Uint8Array[] {
  const records: Uint8Array[] = [];
  const add = (key: string, value: string | Uint8Array) => records.push(record(key, value));
  if (splitName(entry.name) === undefined || !isAscii(entry.name)) add("path", nameBytes(entry.name));
  if (entry.linkName.length > 100 || !isAscii(entry.linkName)) add("linkpath", nameBytes(entry.linkName));
  if (entry.size > OCTAL_11) add("size", String(entry.size));
  if (entry.uid > OCTAL_7) add("uid", String(entry.uid));
  if (entry.gid > OCTAL_7) add("gid", String(entry.gid));
  if (entry.mtime.seconds < 0 || entry.mtime.seconds > OCTAL_11) add("mtime", String(entry.mtime.seconds));
  const xattrs = [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, value] of xattrs) add(`SCHILY.xattr.${key}`, value);
  return records;
}

/** "LENGTH KEY=VALUE\n": LENGTH counts its own digits. */
function record(key: string, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? utf8Bytes(value) : value;
  const rest = key.length + bytes.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return concat([nameBytes(`${length} ${key}=`), bytes, nameBytes("\n")]);
}

function block(entry: TarEntry): Uint8Array {
  const head = new Uint8Array(BLOCK);
  const put = (text: string, offset: number, length: number) => head.set(nameBytes(text.slice(0, length)), offset);
  const octal = (value: number, offset: number, length: number, most: number) =>
    put((value < 0 || value > most ? 0 : value).toString(8).padStart(length - 1, "0"), offset, length - 1);
  const [prefix, name] = splitName(entry.name) ?? ["", entry.name];
  put(name, 0, 100);
  octal(entry.mode & 0o7777, 100, 8, OCTAL_7);
  octal(entry.uid, 108, 8, OCTAL_7);
  octal(entry.gid, 116, 8, OCTAL_7);
  octal(entry.size, 124, 12, OCTAL_11);
  octal(entry.mtime.seconds, 136, 12, OCTAL_11);
  put(FLAGS[entry.type], 156, 1);
  put(entry.linkName, 157, 100);
  put("ustar\u000000", 257, 8);
  octal(entry.devMajor, 329, 8, OCTAL_7);
  octal(entry.devMinor, 337, 8, OCTAL_7);
  put(prefix, 345, 155);
  sum(head);
  return head;
}

function sum(head: Uint8Array): void {
  head.fill(0x20, 148, 156);
  let total = 0;
  for (let i = 0; i < BLOCK; i++) total += head[i] as number;
  head.set(nameBytes(`${total.toString(8).padStart(6, "0")}\0 `), 148);
}

/** A name as ustar's prefix and name; undefined when it does not fit. */
function splitName(name: string): [prefix: string, name: string] | undefined {
  if (name.length <= 100) return ["", name];
  const cut = name.indexOf("/", Math.max(0, name.length - 101));
  if (cut <= 0 || cut > 155 || cut === name.length - 1) return undefined;
  return [name.slice(0, cut), name.slice(cut + 1)];
}

function isAscii(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 126 || name.charCodeAt(i) < 32) return false;
  return true;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
