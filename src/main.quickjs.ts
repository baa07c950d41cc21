/** What dist/tsrun is built from: the command line in the small engine (native/engine/host.c). */
import { COMPLETION_TEXTS, HELP_TEXTS } from "../build/help-texts.ts";
import { HELP, main } from "./cli/cli.ts";
import { COMPLETIONS } from "./cli/verbs/completion.ts";
import { fastExit, keepOwnerRights } from "./index.ts";
import { host } from "./sys/engine.ts";

HELP.texts = HELP_TEXTS;
COMPLETIONS.texts = COMPLETION_TEXTS;

host?.onStart((argv, pid) => {
  host?.startProcess(argv, pid);
  keepOwnerRights();
  const result = main(argv.slice(1));
  if (typeof result === "number") fastExit(result);
  else void result.then(fastExit);
});
