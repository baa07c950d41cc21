import { runInForeground } from "../../index.ts";
import { CONTAINER_FLAGS, CREATE_FLAGS, defineVerb } from "../flags.ts";
import { createOptions } from "../options.ts";
import { writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";
import { bundleAndId } from "../target.ts";

const RUN_USAGE = "tsrun run <bundle> or tsrun run -b <bundle> <container-id>";

export const run = defineVerb({
  name: "run",
  summary: "run a container and return the exit code of its process",
  usage: "<bundle> | -b <bundle> <container-id> | --image <name> [-- <command>]",
  flags: [
    ...CONTAINER_FLAGS,
    ...CREATE_FLAGS,
    { name: "id", kind: "string", argument: "id", help: "the container's name (default: one is made up)" },
    { name: "detach", short: "d", kind: "bool", help: "return when the process runs" },
    {
      name: "image",
      kind: "string",
      argument: "name[:tag]",
      help: "run an image of the store in place of a bundle; the command follows after --",
    },
    { name: "keep", kind: "bool", help: "keep the container's state after its process ended, until `delete`" },
  ],
  min: 0,
  max: Number.POSITIVE_INFINITY,
  notes: `The argument is a bundle when it contains a slash or names a directory with a config.json, and an id otherwise.
The exit code is that of the process, 128 + n when signal n ended it, and 1 when the container could not be run.`,
  run(call) {
    const { values, args, globals } = call;
    // Loaded on demand: what is known of images is not on the way of a bundle.
    if (values.image) return import("../store/run-image.ts").then(({ runImage }) => runImage(call));
    if (args.length > 1) throw new UsageError('"run" requires a maximum of 1 argument(s)', { fix: RUN_USAGE });
    if (args.length === 0 && values.id === undefined) {
      throw new UsageError('"run" requires exactly 1 argument(s)', {
        fix: RUN_USAGE,
      });
    }
    const target = bundleAndId({ bundle: values.bundle, id: values.id, config: values.config, argument: args[0] });
    const result = runInForeground({
      ...createOptions(values, globals, target),
      noSubreaper: values["no-subreaper"],
      keep: values.keep,
      detach: values.detach,
    });
    // Who let us make up the id cannot know it otherwise.
    if (values.detach && target.id === undefined) writeOut(`${result.id}\n`);
    return result.exitCode ?? 0;
  },
});
