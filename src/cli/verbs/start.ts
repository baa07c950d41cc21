import { startContainer } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { notifySocket } from "../options.ts";

export const start = defineVerb({
  name: "start",
  summary: "run the process of a created container",
  usage: "<container-id>",
  flags: [],
  min: 1,
  max: 1,
  run({ args, globals }) {
    startContainer(globals.root, args[0] as string, { notifySocket: notifySocket() });
    return 0;
  },
});
