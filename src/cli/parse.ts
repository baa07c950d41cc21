/**
 * The command line parser. Hot verbs run a thousand times an hour, so this is one loop over a table and
 * loads nothing. Accepts what runc's callers write: `--flag v`, `--flag=v`, `-flag v` (go-runc), `-f v`, `-dt`, `--`.
 */
import { TsrunError } from "../errors.ts";
import type { AnyValues, Flag, Verb } from "./flags.ts";
import { literalNumber } from "./numbers.ts";

/** The command line is wrong. `suggest` names what was written and what it could have been, for a "did you mean". */
export class UsageError extends TsrunError {
  readonly suggest: { word: string; among: readonly string[] } | undefined;
  constructor(message: string, detail: { fix?: string; suggest?: { word: string; among: readonly string[] } } = {}) {
    super(message, detail);
    this.suggest = detail.suggest;
  }
}

export interface Parsed {
  values: AnyValues;
  args: string[];
  /** Index of the first word that was not looked at. */
  next: number;
  /** `--help` was among the flags. */
  help: boolean;
}

/**
 * Reads flags and positional arguments from `argv[start]` on, until `maxArgs` positional arguments were taken;
 * with 0 it stops at the first one and leaves it.
 * `values` is filled on the way, so that a caller still has what came before an error.
 *
 * @throws UsageError naming the flag
 */
export function parseFlags(
  flags: readonly Flag[],
  argv: readonly string[],
  start: number,
  maxArgs: number,
  values: AnyValues = {},
): Parsed {
  const args: string[] = [];
  let next = start;
  let help = false;
  while (next < argv.length && (maxArgs === 0 || args.length < maxArgs)) {
    const word = argv[next] as string;
    if (word === "--") {
      next++;
      while (next < argv.length && args.length < maxArgs) args.push(argv[next++] as string);
      break;
    }
    // "-" alone is an argument, as everywhere.
    if (word.length < 2 || word[0] !== "-") {
      if (maxArgs === 0) break;
      args.push(word);
      next++;
      continue;
    }
    next++;
    const body = word[1] === "-" ? word.slice(2) : word.slice(1);
    const equals = body.indexOf("=");
    const name = equals === -1 ? body : body.slice(0, equals);
    const flag = findFlag(flags, name);
    if (flag === undefined) {
      if (name === "help" || name === "h") help = true;
      else if (word[1] === "-" || !setCluster(flags, body, values)) throw unknownFlag(name, flags);
      continue;
    }
    if (flag.kind === "bool") {
      values[flag.name] = equals === -1 ? true : toBool(flag, body.slice(equals + 1));
      continue;
    }
    if (equals === -1 && next >= argv.length) throw new UsageError(`flag needs an argument: --${flag.name}`);
    setValue(flag, equals === -1 ? (argv[next++] as string) : body.slice(equals + 1), values);
  }
  return { values, args, next, help };
}

/** Parses what follows the verb and checks the number of arguments. */
export function parseVerb(verb: Verb, argv: readonly string[], start: number): Parsed {
  const parsed = parseFlags(verb.flags, argv, start, verb.stopAtId ? 1 : Number.POSITIVE_INFINITY);
  if (parsed.help) return parsed;
  if (parsed.next < argv.length) {
    // `exec <id> -- <command>`: nobody has a command of that name.
    const rest = argv[parsed.next] === "--" ? parsed.next + 1 : parsed.next;
    for (let i = rest; i < argv.length; i++) parsed.args.push(argv[i] as string);
    parsed.next = argv.length;
  }
  for (const flag of verb.flags) {
    const given = flag.refused === undefined ? undefined : parsed.values[flag.name];
    if (given !== undefined && given !== "" && given !== false) {
      throw new UsageError(`flag --${flag.name} ${flag.refused}`);
    }
  }
  checkCount(verb, parsed.args);
  const [word = ""] = parsed.args;
  if (verb.words !== undefined && !verb.words.includes(word)) {
    const message = `${verb.name}: unknown word ${JSON.stringify(word)}: use ${verb.words.join(", ")}`;
    throw new UsageError(message, { suggest: { word, among: verb.words } });
  }
  return parsed;
}

function checkCount(verb: Verb, args: readonly string[]): void {
  if (args.length >= verb.min && args.length <= verb.max) return;
  const fix = `tsrun ${verb.name}${verb.flags.length > 0 ? " [flags]" : ""} ${verb.usage}`.trimEnd();
  const many =
    verb.min === verb.max
      ? `exactly ${verb.min} argument(s)`
      : args.length < verb.min
        ? `a minimum of ${verb.min} argument(s)`
        : `a maximum of ${verb.max} argument(s)`;
  throw new UsageError(`"${verb.name}" requires ${many}`, { fix });
}

function findFlag(flags: readonly Flag[], name: string): Flag | undefined {
  for (const flag of flags) if (flag.name === name || flag.short === name) return flag;
  return undefined;
}

/** `-dt`: one-letter switches written together, as crun takes them. Nothing is set unless every letter is one. */
function setCluster(flags: readonly Flag[], body: string, values: AnyValues): boolean {
  const found: Flag[] = [];
  for (const letter of body) {
    const flag = flags.find((candidate) => candidate.short === letter);
    if (flag?.kind !== "bool") return false;
    found.push(flag);
  }
  for (const flag of found) values[flag.name] = true;
  return found.length > 0;
}

function setValue(flag: Flag, text: string, values: AnyValues): void {
  if (flag.values !== undefined && !flag.values.includes(text) && !(flag.mayBeEmpty && text === "")) {
    throw new UsageError(
      `invalid value ${JSON.stringify(text)} for flag --${flag.name}: use ${flag.values.join(" or ")}`,
      {
        suggest: { word: text, among: flag.values },
      },
    );
  }
  if (flag.kind === "number") {
    values[flag.name] = toNumber(flag, text);
  } else if (flag.kind === "list") {
    const list = values[flag.name] as string[] | undefined;
    if (list === undefined) values[flag.name] = [text];
    else list.push(text);
  } else {
    values[flag.name] = text;
  }
}

function toNumber(flag: Flag, text: string): number {
  const number = literalNumber(text) ?? -1;
  if (number < 0 || number > 999_999_999) {
    throw new UsageError(
      `invalid value ${JSON.stringify(text)} for flag --${flag.name}: a whole number from 0 is needed`,
    );
  }
  return number;
}

/** The spellings of Go's strconv.ParseBool, which runc's callers know. */
function toBool(flag: Flag, text: string): boolean {
  if (text === "true" || text === "1" || text === "t" || text === "T" || text === "TRUE" || text === "True")
    return true;
  if (text === "false" || text === "0" || text === "f" || text === "F" || text === "FALSE" || text === "False")
    return false;
  throw new UsageError(`invalid boolean value ${JSON.stringify(text)} for flag --${flag.name}: use true or false`);
}

function unknownFlag(name: string, flags: readonly Flag[]): UsageError {
  const among = flags.map((flag) => `--${flag.name}`);
  return new UsageError(`flag provided but not defined: -${name}`, { suggest: { word: `--${name}`, among } });
}
