/**
 * 64-bit numbers of a config. JSON.parse rounds what is beyond 2^53, and rounds 2^64-1 up to 2^64; both mean
 * "as much as there is", so the conversions stop at the end of the type.
 */
const UINT64_MAX = 2n ** 64n - 1n;
const INT64_MAX = 2n ** 63n - 1n;

/** An integer of a config as uint64. */
export function uint64(value: number | bigint): bigint {
  const exact = BigInt(value);
  return exact > UINT64_MAX ? UINT64_MAX : exact;
}

/** An integer of a config as int64, in decimal digits: what a cgroup file takes. */
export function int64Text(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  const exact = BigInt(value);
  return String(exact > INT64_MAX ? INT64_MAX : exact);
}
