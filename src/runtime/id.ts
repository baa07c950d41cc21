/** An id for a container that nobody gave one. */
import { randomBytes } from "../sys/random.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/** Twelve letters and digits: 62 random bits. */
export function newId(): string {
  let id = "";
  for (const byte of randomBytes(12)) id += LETTERS[byte % LETTERS.length];
  return id;
}
