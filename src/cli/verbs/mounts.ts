import { addMounts, readMounts, removeMounts } from "../../index.ts";
import { defineVerb } from "../flags.ts";

export const mounts = defineVerb({
  name: "mounts",
  summary: "mount more in a container that runs, or less",
  usage: "add|remove <container-id> <file>",
  flags: [],
  words: ["add", "remove"],
  min: 3,
  max: 3,
  notes: `The file, or standard input when it is -, holds a JSON list of mounts as config.json has them. All of them are
made, or none. To remove them their destinations are enough.`,
  run({ args, globals }) {
    const [word, id = "", file = ""] = args;
    const change = word === "add" ? addMounts : removeMounts;
    change(globals.root, id, readMounts(file));
    return 0;
  },
});
