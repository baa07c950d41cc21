/** The second level of verbs, as `tsrun image list`: parsed by the same parser, from the same kind of table. */
import { runWithOwnIds } from "../../index.ts";
import type { Globals, Verb } from "../flags.ts";
import { writeOut } from "../output.ts";
import { parseVerb, UsageError } from "../parse.ts";
import { asCalled } from "../program-name.ts";

/** Carries out `<verb> <subverb> ...`. */
export async function runSubverb(
  parent: string,
  verbs: readonly Verb[],
  argv: readonly string[],
  globals: Globals,
): Promise<number> {
  const [word, ...rest] = argv;
  const names = verbs.map((verb) => verb.name.slice(parent.length + 1));
  if (word === undefined) {
    throw new UsageError(`"${parent}" requires a command`, { fix: `tsrun ${parent} ${names.join("|")}` });
  }
  const verb = verbs[names.indexOf(ALIASES[word] ?? word)];
  if (verb === undefined) {
    throw new UsageError(`unknown command ${JSON.stringify(`${parent} ${word}`)}`, { suggest: { word, among: names } });
  }
  const parsed = parseVerb(verb, rest, 0);
  if (parsed.help) {
    const { helpText } = await import("../help.ts");
    writeOut(asCalled(helpText([], [verb], verb)));
    return 0;
  }
  return runWithOwnIds() ?? verb.run({ values: parsed.values, args: parsed.args, globals } as never);
}

/** As docker has them. */
const ALIASES: Readonly<Record<string, string>> = { ls: "list", rm: "remove", load: "import" };
