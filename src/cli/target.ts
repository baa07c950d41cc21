/**
 * Which bundle and which id a command line means.
 *
 * | written                     | bundle            | id                     |
 * |-----------------------------|-------------------|------------------------|
 * | `run -b B web`              | B                 | web                    |
 * | `run B`                     | B                 | --id, else made up     |
 * | `run web`                   | current directory | web                    |
 *
 * Without -b the argument is a bundle when it contains a slash, is `.` or `..`, or names a directory that
 * holds a config.json; otherwise it is an id, as runc has it.
 */
import { existsSync } from "../sys/fs.ts";
import { absolute } from "./globals.ts";
import { UsageError } from "./parse.ts";

export interface Target {
  /** Absolute. */
  bundle: string;
  /** undefined: the library makes one up. */
  id: string | undefined;
}

export interface TargetWords {
  /** -b */
  bundle: string | undefined;
  /** --id */
  id?: string | undefined;
  /** --config; a relative one is looked for in the bundle. */
  config?: string | undefined;
  argument: string | undefined;
}

/** For `run` and `plan`. `exists` tells whether there is a file. */
export function bundleAndId(words: TargetWords, exists: (path: string) => boolean = existsSync): Target {
  const { argument } = words;
  const bundle = words.bundle || undefined;
  const id = words.id || undefined;
  if (argument === undefined) return { bundle: absolute(bundle ?? "."), id };
  if (bundle === undefined && (looksLikePath(argument) || holdsConfig(argument, words.config, exists))) {
    return { bundle: absolute(argument), id };
  }
  if (id !== undefined) {
    throw new UsageError(`two ids given: ${argument} and --id ${id}`, { fix: "leave one of them out" });
  }
  return { bundle: absolute(bundle ?? "."), id: argument };
}

function looksLikePath(word: string): boolean {
  return word.includes("/") || word === "." || word === "..";
}

function holdsConfig(word: string, config: string | undefined, exists: (path: string) => boolean): boolean {
  if (word === "") return false;
  return exists(config?.startsWith("/") ? `${word}/.` : `${word}/${config || "config.json"}`);
}
