/** Whole numbers of flags. Rules: Go's strconv.ParseInt, which runc reads its flags with. */

/**
 * A number as Go's source has it: "16", "020", "0x10", "0b1_0000", "-1", "+5".
 *
 * @returns undefined for what is none, or is beyond 2^53
 */
export function literalNumber(text: string): number | undefined {
  const match = /^([+-]?)(0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)$/.exec(text);
  if (match === null) return undefined;
  const digits = (match[2] as string).replaceAll("_", "");
  // JavaScript has no octal numbers without a letter.
  const number = /^0[0-7]/.test(digits) ? Number(`0o${digits.slice(1)}`) : Number(digits);
  if (!Number.isSafeInteger(number)) return undefined;
  return match[1] === "-" && number !== 0 ? -number : number;
}
