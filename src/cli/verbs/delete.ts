import { deleteContainer } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { forEachMatch } from "../regex.ts";

export const deleteVerb = defineVerb({
  name: "delete",
  summary: "remove a stopped container and what was made for it",
  usage: "<container-id>",
  flags: [
    { name: "force", short: "f", kind: "bool", help: "kill it first when it runs; succeed when it does not exist" },
    {
      name: "regex",
      short: "r",
      kind: "bool",
      help: "the argument is a regular expression; delete every container it matches",
    },
  ],
  min: 1,
  max: 1,
  run({ values, args, globals }) {
    const id = args[0] as string;
    const options = { force: values.force };
    if (values.regex) return forEachMatch(globals.root, id, (match) => deleteContainer(globals.root, match, options));
    deleteContainer(globals.root, id, options);
    return 0;
  },
});
