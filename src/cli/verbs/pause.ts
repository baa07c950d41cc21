import { pauseContainer, resumeContainer } from "../../index.ts";
import { defineVerb } from "../flags.ts";

export const pause = defineVerb({
  name: "pause",
  summary: "stop every process of a container where it is",
  usage: "<container-id>",
  flags: [],
  min: 1,
  max: 1,
  run({ args, globals }) {
    pauseContainer(globals.root, args[0] as string);
    return 0;
  },
});

export const resume = defineVerb({
  name: "resume",
  summary: "let the processes of a paused container go on",
  usage: "<container-id>",
  flags: [],
  min: 1,
  max: 1,
  run({ args, globals }) {
    resumeContainer(globals.root, args[0] as string);
    return 0;
  },
});
