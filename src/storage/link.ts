/**
 * Link names and the format of the `lower` file, as Docker's overlay2 has them: "l/AAA:l/BBB", top layer
 * first, each name a symbolic link in overlay2/l to ../<id>/diff. A layer outside the store has no link; its
 * absolute path stands there instead, with a backslash before each ":" and "\" as the kernel wants it. Pure.
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Docker's length: so short that 128 lower layers fit into one page of mount options. */
export const LINK_LENGTH = 26;

/** A link name: 26 characters of base32, five bits from each of 26 random bytes. */
export function linkName(random: Uint8Array): string {
  let name = "";
  for (let i = 0; i < LINK_LENGTH; i++) name += ALPHABET[(random[i] as number) & 31];
  return name;
}

/** Is this a link name and so safe as a component of a path? */
export function isLinkName(text: string): boolean {
  return /^[A-Z2-7]{26}$/.test(text);
}

/** Random bytes as a mount id: lower-case hex. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
  return text;
}

/** A lower layer as the `lower` file names it: by its link in the store, or by its absolute path. */
export type Lower = { link: string } | { path: string };

/** The content of a `lower` file, top layer first. */
export function formatLower(lowers: readonly Lower[]): string {
  return lowers.map((lower) => ("link" in lower ? `l/${lower.link}` : escapeLower(lower.path))).join(":");
}

/** A path inside an option of the kind "lowerdir=a:b". */
export function escapeLower(path: string): string {
  return path.includes(":") || path.includes("\\") ? path.replaceAll(/[\\:]/g, "\\$&") : path;
}

/** The layers that a `lower` file names, top layer first; what is neither a link nor an absolute path is left out. */
export function parseLower(text: string): Lower[] {
  const lowers: Lower[] = [];
  for (const item of splitLower(text)) {
    if (item.startsWith("/")) lowers.push({ path: item });
    else if (item.startsWith("l/") && isLinkName(item.slice(2))) lowers.push({ link: item.slice(2) });
  }
  return lowers;
}

function splitLower(text: string): string[] {
  if (!text.includes("\\")) return text.split(":");
  const items: string[] = [];
  let item = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (c === ":") {
      items.push(item);
      item = "";
    } else if (c === "\\" && i + 1 < text.length) item += text[++i];
    else item += c;
  }
  items.push(item);
  return items;
}
