/** Signals as people and engines write them on the command line. */
import { SIGNALS, signalNumber } from "../index.ts";
import { UsageError } from "./parse.ts";

/**
 * `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN`, `RTMIN+3`, `RTMAX-1`. 0 asks whether the process is there.
 *
 * @throws UsageError naming the word
 */
export function parseSignal(word: string): number {
  const number = word === "0" ? 0 : signalNumber(word);
  if (number !== undefined) return number;
  throw new UsageError(`unknown signal ${JSON.stringify(word)}`, {
    ...(word.startsWith("-") ? { fix: "flags go before the container id" } : {}),
    suggest: {
      word: word.toUpperCase().replace(/^SIG/, ""),
      among: Object.keys(SIGNALS).map((name) => name.slice(3)),
    },
  });
}
