/** Random bytes from the kernel: getrandom(2), without the JavaScript engine's crypto, which costs 0.2 ms to load. */
import { check, retrying } from "./call.ts";
import { SYS } from "./numbers.ts";

/** At most 256 bytes, which getrandom(2) gives in one piece. */
export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  check(retrying(SYS.getrandom, bytes, length, 0), "getrandom");
  return bytes;
}
