import { killContainer } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { UsageError } from "../parse.ts";
import { forEachMatch } from "../regex.ts";
import { parseSignal } from "../signals.ts";

export const kill = defineVerb({
  name: "kill",
  summary: "send a signal to a container (default: TERM)",
  usage: "<container-id> [signal]",
  flags: [
    { name: "all", short: "a", kind: "bool", help: "send it to every process of the container" },
    {
      name: "regex",
      short: "r",
      kind: "bool",
      help: "the argument is a regular expression; signal every container it matches",
    },
  ],
  min: 1,
  max: 2,
  stopAtId: true,
  run({ values, args, globals }) {
    const id = args[0] as string;
    const signal = parseSignal(args[1] || "TERM");
    const options = { all: values.all };
    if (values.regex)
      return forEachMatch(globals.root, id, (match) => killContainer(globals.root, match, signal, options));
    if (id === "") throw new UsageError("the container id is empty");
    killContainer(globals.root, id, signal, options);
    return 0;
  },
});
