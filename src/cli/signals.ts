/** Signal names as people and engines write them. Numbers: signal(7), the same on x86_64 and aarch64. */
import { UsageError } from "./parse.ts";

const NUMBERS: Record<string, number> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
  UNUSED: 31,
};

// The first two real-time signals belong to the C library, so programs count from the third.
const RTMIN = 34;
const RTMAX = 64;

/**
 * `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN`, `RTMIN+3`, `RTMAX-1`. 0 asks whether the process is there.
 *
 * @throws UsageError naming the word
 */
export function signalNumber(word: string): number {
  const number = /^[0-9]{1,3}$/.test(word) ? Number(word) : fromName(word);
  if (number !== undefined && number <= RTMAX) return number;
  throw new UsageError(`unknown signal ${JSON.stringify(word)}`, {
    ...(word.startsWith("-") ? { fix: "flags go before the container id" } : {}),
    suggest: { word: word.toUpperCase().replace(/^SIG/, ""), among: Object.keys(NUMBERS) },
  });
}

function fromName(word: string): number | undefined {
  const upper = word.toUpperCase();
  const name = upper.startsWith("SIG") ? upper.slice(3) : upper;
  if (Object.hasOwn(NUMBERS, name)) return NUMBERS[name];
  const realTime = /^RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name);
  if (realTime === null) return undefined;
  const offset = Number(realTime[3] ?? 0) * (realTime[2] === "-" ? -1 : 1);
  const number = (realTime[1] === "MIN" ? RTMIN : RTMAX) + offset;
  return number >= RTMIN && number <= RTMAX ? number : undefined;
}
