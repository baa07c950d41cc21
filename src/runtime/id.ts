/** An id for a container that nobody gave one. */
const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/** Twelve letters and digits: 62 random bits. */
export function newId(): string {
  let id = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(12))) id += LETTERS[byte % LETTERS.length];
  return id;
}
