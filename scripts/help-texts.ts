/** Prints build/help-texts.ts: the help of every verb, for the program that has no room for what makes it. Run by bun. */
import { GLOBAL_FLAGS } from "../src/cli/globals.ts";
import { helpText } from "../src/cli/help.ts";
import { LATER_VERBS, VERBS } from "../src/cli/verbs/all.ts";

const texts: Record<string, string> = { "": helpText(GLOBAL_FLAGS, VERBS, LATER_VERBS) };
for (const verb of VERBS) texts[verb.name] = helpText(GLOBAL_FLAGS, VERBS, LATER_VERBS, verb);
process.stdout.write(`// Made by scripts/help-texts.ts.
export const HELP_TEXTS: Readonly<Record<string, string>> = ${JSON.stringify(texts, null, 2)};
`);
