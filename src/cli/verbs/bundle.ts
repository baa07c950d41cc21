import { defineVerb } from "../flags.ts";

export const bundle = defineVerb({
  name: "bundle",
  summary: "write a bundle (config.json) that runs an image of the store",
  usage: "<image> <dir> [-- <command>]",
  flags: [
    { name: "store", kind: "string", argument: "dir", help: "where the store is" },
    { name: "terminal", short: "t", kind: "bool", help: "the process has a terminal" },
  ],
  min: 2,
  max: Number.POSITIVE_INFINITY,
  notes: `The directory is made, or must be empty. The layers stay in the store: config.json names them.`,
  // Loaded on demand: what is known of images is not on the way of a container.
  run: ({ values, args }) => import("../store/run-image.ts").then(({ writeBundle }) => writeBundle(args, values)),
});
