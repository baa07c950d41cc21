import { containerState } from "../../index.ts";
import { jsonText } from "../../log.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const state = defineVerb({
  name: "state",
  summary: "print the state of a container as JSON",
  usage: "<container-id>",
  flags: [],
  min: 1,
  max: 1,
  run({ args, globals }) {
    // As runc: indented by two, no newline at the end.
    writeOut(jsonText(containerState(globals.root, args[0] as string), 2));
    return 0;
  },
});
