/** `tsrun layer ...` */
import { isatty } from "node:tty";
import { StateError } from "../../errors.ts";
import type { LayerRow } from "../../index.ts";
import { escapeControl, jsonText } from "../../log.ts";
import { defineVerb, type Globals, STORE_FLAG, type Verb } from "../flags.ts";
import { writeError, writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";
import { openStore, sourceDateEpoch } from "./image.ts";
import { createFile } from "./output-file.ts";
import { progressPrinter } from "./progress.ts";
import { runSubverb } from "./run.ts";
import { bytesText, countText, FORMAT_FLAG, shortId, table } from "./table.ts";

const importLayer = defineVerb({
  name: "layer import",
  summary: "bring one tar into the store as a layer, and print its chain ID",
  usage: "<tar|->",
  flags: [
    STORE_FLAG,
    { name: "parent", kind: "string", argument: "chain-id", help: "the layer that it lies on" },
    { name: "quiet", short: "q", kind: "bool", help: "no progress" },
  ],
  min: 1,
  max: 1,
  notes: "It stays until `layer remove`. A bundle names it as sha256:<chain ID> in org.tsrun.layers.",
  async run({ values, args }) {
    const { chainId } = await openStore(values.store).importLayer(args[0] as string, values.parent || undefined, {
      onProgress: progressPrinter(values.quiet === true),
      onWarning: (message) => writeError(`tsrun: warning: ${message}\n`),
    });
    writeOut(`${chainId}\n`);
    return 0;
  },
});

const list = defineVerb({
  name: "layer list",
  summary: "list the layers in the store, and who needs them",
  usage: "",
  flags: [STORE_FLAG, FORMAT_FLAG],
  min: 0,
  max: 0,
  async run({ values }) {
    const layers = await openStore(values.store).layers();
    if (values.format === "json") writeOut(`${jsonText(layers)}\n`);
    else {
      const rows = layers.map(({ chainId, parent, size, images, containers }) => [
        shortId(chainId),
        parent === undefined ? "-" : shortId(parent),
        bytesText(size),
        [...images, ...containers].join(" "),
      ]);
      writeOut(table(["CHAIN ID", "PARENT", "SIZE", "NEEDED BY"], rows));
    }
    return 0;
  },
});

const tree = defineVerb({
  name: "layer tree",
  summary: "print the layers as a tree: what lies on what",
  usage: "",
  flags: [STORE_FLAG],
  min: 0,
  max: 0,
  async run({ values }) {
    const layers = await openStore(values.store).layers();
    writeOut(treeText(layers));
    return 0;
  },
});

/** Each layer below the one that it lies on, with the images that end there and the containers above. */
function treeText(layers: readonly LayerRow[]): string {
  const known = new Map(layers.map((layer) => [layer.chainId, layer]));
  const lines: string[] = [];
  const print = (layer: LayerRow, indent: string, own: string, below: string): void => {
    const tops = layer.images.filter(
      (name) => !layer.children.some((child) => known.get(child)?.images.includes(name)),
    );
    const users = layer.containers.filter(
      (name) => !layer.children.some((child) => known.get(child)?.containers.includes(name)),
    );
    const marks = [...tops.map((name) => `image ${name}`), ...users.map((name) => `container ${name}`)].join(", ");
    lines.push(
      `${indent}${own}${shortId(layer.chainId)} ${bytesText(layer.size)}${marks === "" ? "" : `  <- ${marks}`}`,
    );
    const children = layer.children.flatMap((id) => known.get(id) ?? []);
    children.forEach((child, i) => {
      const isLast = i === children.length - 1;
      print(child, indent + below, isLast ? "└─ " : "├─ ", isLast ? "   " : "│  ");
    });
  };
  for (const layer of layers) if (layer.parent === undefined || !known.has(layer.parent)) print(layer, "", "", "");
  return lines.map((line) => `${line}\n`).join("");
}

const diff = defineVerb({
  name: "layer diff",
  summary: "print what a container, or a named read-write layer, has added (A), changed (C) and deleted (D)",
  usage: "<container>",
  flags: [STORE_FLAG, FORMAT_FLAG],
  min: 1,
  max: 1,
  async run({ values, args }) {
    const changes = await openStore(values.store).diff(args[0] as string);
    writeOut(
      values.format === "json"
        ? `${jsonText(changes)}\n`
        : changes.map(({ kind, path }) => `${kind} ${path}\n`).join(""),
    );
    return 0;
  },
});

const exportTar = defineVerb({
  name: "layer export",
  summary: "write the tar of a layer, or the whole root filesystem of a container or an image",
  usage: "<layer|container|image>",
  flags: [
    STORE_FLAG,
    { name: "output", short: "o", kind: "string", argument: "file", help: "where; - is standard output (default)" },
  ],
  min: 1,
  max: 1,
  notes: "A layer (its chain ID, or the beginning of it) is written byte for byte as it was imported.",
  async run({ values, args }) {
    const store = openStore(values.store);
    const subject = args[0] as string;
    const output = values.output || "-";
    if (output === "-" && isatty(1)) throw new UsageError("a tar is nothing for a terminal", { fix: "-o FILE" });
    using file = createFile(output);
    for await (const piece of await tarOf()) file.write(piece);
    file.finish();
    return 0;

    async function tarOf(): Promise<AsyncGenerator<Uint8Array>> {
      if (/^(sha256:)?[0-9a-f]{4,64}$/.test(subject)) {
        try {
          return await store.layerTar(subject);
        } catch (error) {
          // It may be the name of a container, or the id of an image, all the same.
          if (!(error instanceof StateError)) throw error;
        }
      }
      return store.exportTar(subject, { epoch: sourceDateEpoch() });
    }
  },
});

const why = defineVerb({
  name: "layer why",
  summary: "print which layer a path comes from, and what it hides, top first",
  usage: "<container|image> <path>",
  flags: [STORE_FLAG, FORMAT_FLAG],
  min: 2,
  max: 2,
  async run({ values, args }) {
    const rows = await openStore(values.store).why(args[0] as string, args[1] as string);
    if (values.format === "json") writeOut(`${jsonText(rows)}\n`);
    else
      for (const { layer, what, isVisible } of rows)
        writeOut(`${isVisible ? "*" : " "} ${layer}: ${escapeControl(what)}\n`);
    // As grep does: nothing was found.
    return rows.some(({ isVisible }) => isVisible) ? 0 : 1;
  },
});

const check = defineVerb({
  name: "layer check",
  summary: "verify every layer against its digest, and all that refers to another",
  usage: "",
  flags: [
    STORE_FLAG,
    FORMAT_FLAG,
    { name: "repair", kind: "bool", help: "make again what can be made again, and remove what is lost" },
    { name: "quick", kind: "bool", help: "do not read the content of the layers" },
  ],
  min: 0,
  max: 0,
  notes: "The exit code is 0 when nothing is wrong, or all of it was repaired.",
  async run({ values }) {
    const faults = await openStore(values.store).check({
      repair: values.repair === true,
      quick: values.quick === true,
    });
    if (values.format === "json") writeOut(`${jsonText(faults)}\n`);
    else
      for (const { where, what, repair, isRepaired } of faults)
        writeOut(`${escapeControl(`${where}: ${what}`)} (${isRepaired ? "repaired" : "to repair"}: ${repair})\n`);
    return faults.every(({ isRepaired }) => isRepaired) ? 0 : 1;
  },
});

const gc = defineVerb({
  name: "layer gc",
  summary: "remove layers that nobody needs, and what killed programs have left",
  usage: "",
  flags: [STORE_FLAG],
  min: 0,
  max: 0,
  async run({ values }) {
    const { layers, leftovers } = await openStore(values.store).gc();
    for (const layer of layers) writeOut(`deleted layer ${layer}\n`);
    if (leftovers > 0) writeOut(`deleted ${countText(leftovers, "leftover")}\n`);
    return 0;
  },
});

const remove = defineVerb({
  name: "layer remove",
  summary: "remove layers that were imported by themselves",
  usage: "<layer>...",
  flags: [STORE_FLAG],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  async run({ values, args }) {
    const store = openStore(values.store);
    for (const chainId of args) await store.removeLayer(chainId);
    return 0;
  },
});

export const LAYER_VERBS: readonly Verb[] = [importLayer, list, tree, diff, exportTar, why, check, gc, remove];

export function run(argv: readonly string[], globals: Globals): Promise<number> {
  return runSubverb("layer", LAYER_VERBS, argv, globals);
}
