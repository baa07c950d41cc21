/** Durations as Go writes them, which is how engines hand them over: "5s", "100ms", "1m30s". */
import { UsageError } from "./parse.ts";

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "\u00b5s": 1e-3,
  "\u03bcs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds, more than 0. @throws UsageError naming the flag */
export function millisecondsOf(flag: string, text: string): number {
  let rest = text.replace(/^\+/, "");
  let total = 0;
  while (rest !== "") {
    const match = /^(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/.exec(rest);
    if (match === null) break;
    total += Number(match[1]) * (UNITS[match[2] as string] ?? 0);
    rest = rest.slice(match[0].length);
  }
  if (rest === "" && total > 0) return total;
  throw new UsageError(
    `invalid value ${JSON.stringify(text)} for flag --${flag}: a duration such as 5s or 100ms is needed`,
  );
}
