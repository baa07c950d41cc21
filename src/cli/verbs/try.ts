import { defineVerb } from "../flags.ts";

export const tryVerb = defineVerb({
  name: "try",
  summary: "run a command over a copy-on-write view of the running system, then show, apply or drop what it changed",
  usage: "[-- <command>]",
  flags: [
    { name: "diff", kind: "bool", help: "print what was changed, and drop it (or keep it, with --keep)" },
    { name: "apply", kind: "bool", help: "take what was changed over into the system when the command exits with 0" },
    {
      name: "keep",
      kind: "string",
      argument: "name",
      help: "keep what was changed under a name; without a command: what was kept",
    },
    { name: "drop", kind: "bool", help: "drop what was kept under --keep" },
    { name: "base", kind: "string", argument: "dir", help: "the tree below, in place of /" },
    { name: "store", kind: "string", argument: "dir", help: "where the changes are until then" },
  ],
  min: 0,
  max: Number.POSITIVE_INFINITY,
  notes: `The command has the system's network and all rights of root; its mounts and process ids are its own. What is mounted
beside / can be read and not written. On a terminal, without --diff, --apply and --keep, tsrun asks what to do.
The exit code is that of the command.`,
  // Loaded on demand: it is for people.
  run: (call) => import("../store/try.ts").then(({ runTry }) => runTry(call)),
});
