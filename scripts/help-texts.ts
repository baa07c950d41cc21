/** Prints build/help-texts.ts: the help of every verb and the completion of shells, for the program that has no room for what makes it. Run by bun. */
import { completionScript, SHELLS } from "../src/cli/completion.ts";
import { GLOBAL_FLAGS } from "../src/cli/globals.ts";
import { helpText } from "../src/cli/help.ts";
import { SUBVERBS } from "../src/cli/store/all.ts";
import { VERBS } from "../src/cli/verbs/all.ts";

const texts: Record<string, string> = { "": helpText(GLOBAL_FLAGS, VERBS) };
for (const verb of VERBS) texts[verb.name] = helpText(GLOBAL_FLAGS, VERBS, verb);
const completions: Record<string, string> = {};
for (const shell of SHELLS) completions[shell] = completionScript(shell, GLOBAL_FLAGS, [...VERBS, ...SUBVERBS]);
process.stdout.write(`// Made by scripts/help-texts.ts.
export const HELP_TEXTS: Readonly<Record<string, string>> = ${JSON.stringify(texts, null, 2)};
export const COMPLETION_TEXTS: Readonly<Record<string, string>> = ${JSON.stringify(completions, null, 2)};
`);
