/** Tars for tests: well-formed ones from a list of entries, and hostile ones, byte for byte. */
import type { EntryType, TarEntry } from "../../src/storage/tar/header.ts";
import { roundUp } from "../../src/storage/tar/reader.ts";
import { concat, formatHeader, TRAILER } from "../../src/storage/tar/writer.ts";

export interface TestEntry extends Partial<Omit<TarEntry, "name" | "type" | "size">> {
  name: string;
  type?: EntryType;
  content?: string | Uint8Array;
}

/** A whole tar. */
export function makeTar(entries: readonly TestEntry[], { trailer = true } = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { content = "", ...rest } of entries) {
    const bytes = typeof content === "string" ? Buffer.from(content, "latin1") : content;
    parts.push(formatHeader(testEntry({ ...rest, content: bytes })), bytes);
    parts.push(new Uint8Array(roundUp(bytes.length) - bytes.length));
  }
  if (trailer) parts.push(TRAILER);
  return concat(parts);
}

/** An extended header with these records, for the entry that comes next. */
export function paxHeader(records: Readonly<Record<string, string>>): Uint8Array {
  const content = Object.entries(records).map(([key, value]) => paxRecord(`${key}=${value}\n`));
  const bytes = Buffer.from(content.join(""), "utf8");
  const header = formatHeader(testEntry({ name: "pax", content: bytes })).slice();
  header[156] = "x".charCodeAt(0);
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.set(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0`), 148);
  return concat([header, bytes, new Uint8Array(roundUp(bytes.length) - bytes.length)]);
}

/** The length of a record counts its own digits. */
function paxRecord(text: string): string {
  const length = Buffer.byteLength(text) + 1;
  const digits = String(length + String(length).length).length;
  return `${length + digits} ${text}`;
}

export function testEntry({ content = "", ...entry }: TestEntry): TarEntry {
  const type = entry.type ?? (entry.name.endsWith("/") ? "directory" : "file");
  return {
    linkName: "",
    mode: type === "directory" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    mtime: { seconds: 1_600_000_000, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
    ...entry,
    type,
    size: content.length,
  };
}
