/**
 * Names in a tar or a directory are bytes, not text. Here they are strings of which each character is one byte, so
 * that they can be cut, compared and kept in maps; what is shown to people goes through `shown`.
 */
import { utf8Text } from "../../sys/call.ts";

/** The bytes of a name. */
export function nameBytes(name: string): Uint8Array {
  return Buffer.from(name, "latin1");
}

/** The name that these bytes are. */
export function byteName(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** A text as a name: its UTF-8 bytes. */
export function textName(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** A name for people: what could drive a terminal, or turn the direction of its text, is escaped. */
export function shown(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return utf8Text(nameBytes(name)).replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/**
 * The components of a name, confined: no "." and no empty ones, and a leading "/" means the top.
 * undefined for one that leads out of it by "..".
 */
export function components(name: string): string[] | undefined {
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") return undefined;
    parts.push(part);
  }
  return parts;
}

/** Orders names by their bytes. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
