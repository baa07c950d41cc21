/** Numbers of flags: sizes in bytes with a unit, and numbers that may be negative. */
import { literalNumber } from "./numbers.ts";
import { UsageError } from "./parse.ts";

const UNITS = "kmgtp";

/**
 * Bytes of "512m", "1.5GiB", "4096" or "-1": units of 1024, as runc takes them.
 *
 * @throws UsageError naming the flag
 */
export function sizeOf(flag: string, text: string): number {
  if (text === "-1") return -1;
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])?(i?b)?)$/i.exec(text);
  if (match === null) throw wrong(flag, text, "bytes, with k, m, g, t or p for a unit, or -1 for no limit");
  const power = match[2] === undefined ? 0 : UNITS.indexOf(match[2].toLowerCase()) + 1;
  return Math.floor(Number(match[1]) * 1024 ** power);
}

/** A decimal number that may have a sign. @throws UsageError naming the flag */
export function integerOf(flag: string, text: string): number {
  if (!/^[+-]?\d{1,18}$/.test(text)) throw wrong(flag, text, "a whole number");
  return Number(text);
}

/** The same without a plus, which Go takes of numbers alone that may be negative. @throws UsageError */
export function naturalOf(flag: string, text: string): number {
  if (text.startsWith("+")) throw wrong(flag, text, "a whole number");
  return integerOf(flag, text);
}

/** A number in any of Go's spellings. @throws UsageError naming the flag */
export function literalOf(flag: string, text: string): number {
  const number = literalNumber(text);
  if (number === undefined) throw wrong(flag, text, "a whole number");
  return number;
}

function wrong(flag: string, text: string, wanted: string): UsageError {
  return new UsageError(`invalid value ${JSON.stringify(text)} for flag --${flag}: ${wanted} is needed`);
}
