/** `tsrun container ...` */
import { jsonText } from "../../log.ts";
import { defineVerb, type Globals, STORE_FLAG, type Verb } from "../flags.ts";
import { writeOut } from "../output.ts";
import { openStore } from "./image.ts";
import { runSubverb } from "./run.ts";
import { FORMAT_FLAG, rwLayerTable } from "./table.ts";

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
  usage: "<rw-layer> <name>",
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

const layers = defineVerb({
  name: "container layers",
  summary: "list the read-write layers: those with a name, and those of containers",
  usage: "",
  flags: [STORE_FLAG, FORMAT_FLAG, { name: "quiet", short: "q", kind: "bool", help: "only names of layers" }],
  min: 0,
  max: 0,
  async run({ values }) {
    const rows = await openStore(values.store).rwLayers();
    if (values.quiet) writeOut(rows.flatMap(({ name }) => (name === undefined ? [] : `${name}\n`)).join(""));
    else writeOut(values.format === "json" ? `${jsonText(rows)}\n` : rwLayerTable(rows));
    return 0;
  },
});

const remove = defineVerb({
  name: "container remove",
  summary: "remove read-write layers that no container has, with their snapshots",
  usage: "<rw-layer>...",
  flags: [STORE_FLAG],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  notes:
    "A layer without a name goes with its container. Of one that is gone without `tsrun delete`, since the machine was\nswitched off, it is removed by the id of the container.",
  async run({ values, args }) {
    const store = openStore(values.store);
    for (const name of args) await store.removeRwLayer(name);
    return 0;
  },
});

export const CONTAINER_VERBS: readonly Verb[] = [layers, remove, snapshot, snapshots, rollback, forget];

export function run(argv: readonly string[], globals: Globals): Promise<number> {
  return runSubverb("container", CONTAINER_VERBS, argv, globals);
}
