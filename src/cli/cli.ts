/**
 * The command line: global flags, then a verb, then what is its own. A client of src/index.ts: it can do nothing
 * that the library cannot.
 */
import { COMMIT, SPEC_VERSION, VERSION } from "../index.ts";
import { debug, flushLog, isDebugging } from "../log.ts";
import type { AnyValues, Call, Flag, Verb } from "./flags.ts";
import { GLOBAL_FLAGS, type GlobalValues, resolveGlobals } from "./globals.ts";
import { OutputClosed, writeOut } from "./output.ts";
import { parseFlags, parseVerb, UsageError } from "./parse.ts";
import { asCalled, programName } from "./program-name.ts";
import { type Context, printError, setUpLog } from "./report.ts";
import { VERBS } from "./verbs/all.ts";

/** What a shell reports for a program that SIGPIPE ended; Bun ignores that signal. */
const BROKEN_PIPE = 141;

/**
 * Help by verb, "" for the program's own, as the build of dist/tsrun has written it. Elsewhere it is made when it is
 * asked for: help is rare, and its program large.
 */
export const HELP: { texts: Readonly<Record<string, string>> | undefined } = { texts: undefined };

/** Carries out one command line (without the program's name) and returns the exit code. Does not throw. */
export function main(argv: readonly string[]): number | Promise<number> {
  let errorCode = 1;
  let context: Context | undefined;
  try {
    const { globals, next, help } = readGlobals(argv);
    const word = argv[next];
    if (globals.version) return version();
    if (word === "help") return showHelp(argv[next + 1]);
    if (help || word === undefined) return showHelp(undefined);
    const verb = findVerb(word);
    errorCode = verb.errorCode ?? 1;
    const parsed = parseVerb(verb, argv, next + 1);
    if (parsed.help) return showHelp(word);
    const subject = parsed.args[0];
    if (subject) context = { verb: verb.name, subject };
    const call = { values: parsed.values, args: parsed.args, globals: resolveGlobals(globals) };
    if (isDebugging()) debug(`tsrun ${VERSION}: ${argv.join(" ")}`);
    return settle(verb.run(call as Call<readonly Flag[]>), errorCode, context);
  } catch (error) {
    return fail(error, errorCode, context);
  }
}

/** The log is set up even when a later flag is wrong: the caller reads the error there. */
function readGlobals(argv: readonly string[]): { globals: GlobalValues; next: number; help: boolean } {
  const values: AnyValues = {};
  const globals = values as GlobalValues;
  try {
    const { next, help } = parseFlags(GLOBAL_FLAGS, argv, 0, 0, values);
    setUpLog(globals);
    return { globals, next, help };
  } catch (error) {
    if (error instanceof UsageError) setUpLog(globals);
    throw error;
  }
}

function settle(result: number | Promise<number>, code: number, context?: Context): number | Promise<number> {
  if (typeof result !== "number") return result.then(succeed).catch((error: unknown) => fail(error, code, context));
  return succeed(result);
}

function succeed(code: number): number {
  flushLog();
  return code;
}

function fail(error: unknown, code: number, context?: Context): number {
  if (error instanceof OutputClosed) return BROKEN_PIPE;
  if (isDebugging() && error instanceof Error) debug(error.stack ?? error.message);
  // A wrong command line speaks for itself.
  printError(error, error instanceof UsageError ? undefined : context);
  return code;
}

function findVerb(word: string): Verb {
  for (const verb of VERBS) if (verb.name === word) return verb;
  throw new UsageError(`unknown command ${JSON.stringify(word)} (No help topic for '${word}')`, {
    suggest: { word, among: VERBS.map((verb) => verb.name) },
  });
}

/**
 * dockerd reads the last line with "version" and the one with "commit:", go-runc (containerd, nerdctl) those that begin
 * with "runc version ", "commit: " and "spec: ". Under the name of runc, too, the version is ours, and a line says whose.
 */
function version(): number {
  const name = programName();
  const own = name === "tsrun" ? "" : `tsrun: ${VERSION}\n`;
  writeOut(`${name} version ${VERSION}\ncommit: ${COMMIT}\nspec: ${SPEC_VERSION}\n${own}`);
  return 0;
}

function showHelp(word: string | undefined): number | Promise<number> {
  const verb = word === undefined ? undefined : findVerb(word);
  const text = HELP.texts?.[verb?.name ?? ""];
  if (text !== undefined) {
    writeOut(asCalled(text));
    return 0;
  }
  return import("./help.ts")
    .then(({ helpText }) => {
      writeOut(asCalled(helpText(GLOBAL_FLAGS, VERBS, verb)));
      return 0;
    })
    .catch((error: unknown) => fail(error, 1));
}
