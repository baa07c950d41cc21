/** `tsrun container ...` */
import { defineVerb, type Globals, STORE_FLAG, type Verb } from "../flags.ts";
import { writeOut } from "../output.ts";
import { openStore } from "./image.ts";
import { runSubverb } from "./run.ts";

const snapshot = defineVerb({
  name: "container snapshot",
  summary: "keep the read-write layer of a container, or a named one, as it is now",
  usage: "<container> <name>",
  flags: [STORE_FLAG],
  min: 2,
  max: 2,
  notes:
    "Content is shared where the file system can (btrfs, xfs). A process that still writes should be paused before.",
  async run({ values, args }) {
    await openStore(values.store).snapshot(args[0] as string, args[1] as string);
    return 0;
  },
});

const snapshots = defineVerb({
  name: "container snapshots",
  summary: "list the snapshots of a read-write layer",
  usage: "<container>",
  flags: [STORE_FLAG],
  min: 1,
  max: 1,
  async run({ values, args }) {
    writeOut((await openStore(values.store).snapshots(args[0] as string)).map((name) => `${name}\n`).join(""));
    return 0;
  },
});

const rollback = defineVerb({
  name: "container rollback",
  summary: "make a named read-write layer that no container has what it was at a snapshot",
  usage: "<layer> <name>",
  flags: [STORE_FLAG],
  min: 2,
  max: 2,
  async run({ values, args }) {
    await openStore(values.store).rollback(args[0] as string, args[1] as string);
    return 0;
  },
});

const forget = defineVerb({
  name: "container forget",
  summary: "remove a snapshot",
  usage: "<container> <name>",
  flags: [STORE_FLAG],
  min: 2,
  max: 2,
  async run({ values, args }) {
    await openStore(values.store).forgetSnapshot(args[0] as string, args[1] as string);
    return 0;
  },
});

export const CONTAINER_VERBS: readonly Verb[] = [snapshot, snapshots, rollback, forget];

export function run(argv: readonly string[], globals: Globals): Promise<number> {
  return runSubverb("container", CONTAINER_VERBS, argv, globals);
}
