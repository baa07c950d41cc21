/** `tsrun image ...` */
import { isatty } from "node:tty";
import { isErrno, TsrunError } from "../../errors.ts";
import {
  containerState,
  type IdMap,
  type ImageRow,
  LayerStore,
  MissingError,
  type Platform,
  pauseContainer,
  resumeContainer,
  storageRoot,
} from "../../index.ts";
import { escapeControl, jsonText } from "../../log.ts";
import { defineVerb, type Globals, STORE_FLAG, type Verb } from "../flags.ts";
import { absolute } from "../globals.ts";
import { OutputClosed, writeError, writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";
import { configChanges } from "./config-changes.ts";
import { progressPrinter } from "./progress.ts";
import { runSubverb } from "./run.ts";
import { bytesText, countText, FORMAT_FLAG, rwLayerTable, shortId, table } from "./table.ts";

const QUIET_FLAG = { name: "quiet", short: "q", kind: "bool", help: "print ids alone, and no progress" } as const;

export function openStore(store: string | undefined, idMap?: IdMap): LayerStore {
  return new LayerStore({ storageRoot: store ? absolute(store) : storageRoot(), idMap });
}

/** Seconds since 1970 that no time in what is made is later than. Rules: reproducible-builds.org, SOURCE_DATE_EPOCH. */
export function sourceDateEpoch(): number | undefined {
  const text = process.env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === "") return undefined;
  if (!/^[0-9]{1,12}$/.test(text))
    throw new TsrunError(`SOURCE_DATE_EPOCH is ${JSON.stringify(text)}`, { fix: "set it to seconds since 1970" });
  return Number(text);
}

/** "100000:1000:1" or "0:100000:65536": container id, host id, how many. */
function idMap(uids: readonly string[] | undefined, gids: readonly string[] | undefined): IdMap | undefined {
  if (uids === undefined && gids === undefined) return undefined;
  const parse = (text: string) => {
    const match = /^([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})$/.exec(text);
    if (match === null) throw new UsageError(`invalid id mapping ${JSON.stringify(text)}: use CONTAINER:HOST:SIZE`);
    return { containerID: Number(match[1]), hostID: Number(match[2]), size: Number(match[3]) };
  };
  return { uids: (uids ?? gids ?? []).map(parse), gids: (gids ?? uids ?? []).map(parse) };
}

function platformOf(text: string | undefined): Platform | "all" | undefined {
  if (text === undefined || text === "" || text === "all") return text === "all" ? "all" : undefined;
  const [os, architecture, variant, ...more] = text.split("/");
  if (!os || !architecture || more.length > 0)
    throw new UsageError(`invalid platform ${JSON.stringify(text)}: use OS/ARCH or OS/ARCH/VARIANT`);
  return { os, architecture, ...(variant && { variant }) };
}

const importImage = defineVerb({
  name: "image import",
  summary: "bring images into the store",
  usage: "<layout|archive|tar|-> [name]",
  flags: [
    STORE_FLAG,
    QUIET_FLAG,
    { name: "reference", kind: "string", argument: "name", help: "only the image of this name or tag" },
    {
      name: "platform",
      kind: "string",
      argument: "os/arch",
      help: "which images of an index; all for every one (default: this machine's)",
    },
    { name: "keep-blobs", kind: "bool", help: "keep layers compressed as they are, too: `image save` gives them back" },
    {
      name: "uid-map",
      kind: "list",
      argument: "c:h:n",
      help: "owners on disk: n ids from c on are h and up (repeatable; one mapping a store)",
    },
    { name: "gid-map", kind: "list", argument: "c:h:n", help: "the same for groups (default: as --uid-map)" },
  ],
  min: 1,
  max: 2,
  notes: `Takes an OCI image layout (a directory or a tar), an archive of docker save, or the tar of a root filesystem,
which needs a name; gzip and zstd are taken off. Everything is verified before any of it can be seen.`,
  async run({ values, args }) {
    const [source, name] = args as [string, string | undefined];
    const platform = platformOf(values.platform);
    const images = await openStore(values.store, idMap(values["uid-map"], values["gid-map"])).importImage(source, {
      name,
      reference: values.reference,
      ...(platform !== undefined && { platform }),
      keepBlobs: values["keep-blobs"],
      onProgress: progressPrinter(values.quiet === true),
      onWarning: (message) => writeError(`tsrun: warning: ${message}\n`),
    });
    for (const image of images)
      writeOut(values.quiet ? `${image.id}\n` : `${image.id} ${image.names.join(" ")}`.trimEnd().concat("\n"));
    return 0;
  },
});

const list = defineVerb({
  name: "image list",
  summary: "list the images in the store",
  usage: "",
  flags: [STORE_FLAG, FORMAT_FLAG, QUIET_FLAG],
  min: 0,
  max: 0,
  async run({ values }) {
    const images = await openStore(values.store).images();
    if (values.format === "json") writeOut(`${jsonText(images)}\n`);
    else if (values.quiet) writeOut(images.map(({ id }) => `${id}\n`).join(""));
    else writeOut(table(["NAME", "ID", "PLATFORM", "LAYERS", "SIZE", "CREATED"], images.flatMap(imageRows)));
    return 0;
  },
});

function imageRows({ id, names, platform, layers, size, created }: ImageRow): string[][] {
  const rest = [shortId(id), platform, String(layers.length), bytesText(size), created.slice(0, 19)];
  return (names.length === 0 ? ["<none>"] : names).map((name) => [name, ...rest]);
}

const inspect = defineVerb({
  name: "image inspect",
  summary: "print the config, the layers and the names of an image",
  usage: "<image>",
  flags: [STORE_FLAG, { name: "config", kind: "bool", help: "the config alone, byte for byte" }],
  min: 1,
  max: 1,
  async run({ values, args }) {
    const { id, names, layers, config, text } = await openStore(values.store).image(args[0] as string);
    writeOut(values.config ? text : `${jsonText({ id, names, layers, config }, 2)}\n`);
    return 0;
  },
});

const history = defineVerb({
  name: "image history",
  summary: "print how an image was made, newest first",
  usage: "<image>",
  flags: [STORE_FLAG, FORMAT_FLAG],
  min: 1,
  max: 1,
  async run({ values, args }) {
    const lines = (await openStore(values.store).history(args[0] as string)).reverse();
    if (values.format === "json") writeOut(`${jsonText(lines)}\n`);
    else {
      const rows = lines.map((line) => [
        line.layer === undefined ? "-" : shortId(line.layer),
        (line.created ?? "").slice(0, 19),
        bytesText(line.size),
        escapeControl([line.created_by ?? "", line.comment ? `(${line.comment})` : ""].join(" ").trim()),
      ]);
      writeOut(table(["LAYER", "CREATED", "SIZE", "BY"], rows));
    }
    return 0;
  },
});

const tag = defineVerb({
  name: "image tag",
  summary: "give an image one more name",
  usage: "<image> <name>",
  flags: [STORE_FLAG],
  min: 2,
  max: 2,
  async run({ values, args }) {
    await openStore(values.store).tag(args[0] as string, args[1] as string);
    return 0;
  },
});

const remove = defineVerb({
  name: "image remove",
  summary: "take names away, and with the last one the image and the layers that nobody else needs",
  usage: "<image>...",
  flags: [
    STORE_FLAG,
    { name: "force", kind: "bool", help: "also by id when it has several names, and though containers have it" },
  ],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  async run({ values, args }) {
    const store = openStore(values.store);
    for (const reference of args) {
      const { untagged, id, layers } = await store.removeImage(reference, { force: values.force === true });
      for (const name of untagged) writeOut(`untagged ${name}\n`);
      if (id !== undefined) writeOut(`deleted ${id}\n`);
      for (const layer of layers) writeOut(`deleted layer ${layer}\n`);
    }
    return 0;
  },
});

const commit = defineVerb({
  name: "image commit",
  summary: "make an image of what a container has changed",
  usage: "<container> [name]",
  flags: [
    STORE_FLAG,
    { name: "author", short: "a", kind: "string", argument: "text", help: "who made it" },
    { name: "message", short: "m", kind: "string", argument: "text", help: "a line for its history" },
    {
      name: "image",
      kind: "string",
      argument: "image",
      help: "carry on the config of this image (default: that of the container's layers)",
    },
    { name: "no-pause", kind: "bool", help: "do not pause a running container meanwhile" },
    {
      name: "change",
      short: "c",
      kind: "list",
      argument: "line",
      help: "a line of a Dockerfile: CMD, ENTRYPOINT, ENV, USER, WORKDIR, LABEL, VOLUME, EXPOSE, STOPSIGNAL (repeatable)",
    },
  ],
  min: 1,
  max: 2,
  notes: `The container's own /etc/hostname and the like, which lie in the init layer, are never part of it.
SOURCE_DATE_EPOCH makes the same content the same image.
A running container is paused meanwhile.`,
  async run({ values, args, globals }) {
    const store = openStore(values.store);
    using _paused = values["no-pause"] ? undefined : pauseWhile(globals.root, args[0] as string);
    const base = values.image === undefined ? undefined : (await store.image(values.image)).config;
    const result = await store.commit(args[0] as string, {
      name: args[1],
      image: values.image,
      author: values.author,
      message: values.message,
      config: configChanges(values.change ?? [], base?.config),
      epoch: sourceDateEpoch(),
    });
    writeOut(`${result.id}\n`);
    return 0;
  },
});

/** A running container stands still until the result is disposed of; anything else is left alone. */
function pauseWhile(root: string, id: string): Disposable | undefined {
  try {
    if (containerState(root, id).status !== "running") return undefined;
  } catch {
    return undefined; // a named layer, which no container has
  }
  pauseContainer(root, id);
  return { [Symbol.dispose]: () => goOn(root, id) };
}

/** It may have been killed meanwhile, or resumed by somebody else. */
function goOn(root: string, id: string): void {
  try {
    resumeContainer(root, id);
  } catch (error) {
    if (isPaused(root, id)) throw error;
  }
}

function isPaused(root: string, id: string): boolean {
  try {
    return containerState(root, id).status === "paused";
  } catch (error) {
    if (error instanceof MissingError) return false;
    throw error;
  }
}

const save = defineVerb({
  name: "image save",
  summary: "write images as an OCI layout, an OCI archive or a docker-archive",
  usage: "<image>...",
  flags: [
    STORE_FLAG,
    { name: "output", short: "o", kind: "string", argument: "path", help: "where; - is standard output (default)" },
    {
      name: "format",
      short: "f",
      kind: "string",
      values: ["oci", "oci-archive", "docker-archive"],
      argument: "format",
      help: "oci (a directory), oci-archive or docker-archive (default)",
    },
    {
      name: "compress",
      kind: "string",
      values: ["none", "gzip", "zstd"],
      argument: "how",
      help: "layers of an OCI layout: none, gzip (default) or zstd",
    },
  ],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  async run({ values, args }) {
    const format = (values.format ?? "docker-archive") as "oci" | "oci-archive" | "docker-archive";
    if (values.compress !== undefined && format === "docker-archive")
      throw new UsageError("the layers of a docker-archive are not compressed", {
        fix: "leave out --compress, or use --format oci-archive",
      });
    const output = values.output || "-";
    if (output === "-" && isatty(1)) throw new UsageError("an archive is nothing for a terminal", { fix: "-o FILE" });
    try {
      await openStore(values.store).save(args, {
        output: output === "-" ? "-" : absolute(output),
        format,
        compression: values.compress as never,
      });
    } catch (error) {
      if (output === "-" && isErrno(error, "EPIPE")) throw new OutputClosed();
      throw error;
    }
    return 0;
  },
});

const pull = defineVerb({
  name: "image pull",
  summary: "get an image from a registry, through skopeo",
  usage: "<image> [name]",
  flags: [
    STORE_FLAG,
    QUIET_FLAG,
    { name: "platform", kind: "string", argument: "os/arch", help: "another platform than this machine's" },
    {
      name: "skopeo-arg",
      kind: "list",
      argument: "arg",
      help: "handed to skopeo copy, such as --skopeo-arg=--src-tls-verify=false (repeatable)",
    },
  ],
  min: 1,
  max: 2,
  notes: "The image is named as skopeo names it (docker://name is meant where there is no transport).",
  async run({ values, args }) {
    const { pullImage } = await import("./pull.ts");
    const platform = platformOf(values.platform);
    if (platform === "all") throw new UsageError("one platform at a time can be pulled");
    const images = await pullImage(openStore(values.store), args[0] as string, args[1], {
      quiet: values.quiet === true,
      platform,
      skopeoArgs: values["skopeo-arg"] ?? [],
    });
    for (const image of images) writeOut(`${image.id} ${image.names.join(" ")}\n`);
    return 0;
  },
});

const df = defineVerb({
  name: "image df",
  summary: "print what images, read-write layers and layers take",
  usage: "",
  flags: [STORE_FLAG, FORMAT_FLAG],
  min: 0,
  max: 0,
  async run({ values }) {
    const usage = await openStore(values.store).usage();
    if (values.format === "json") {
      writeOut(`${jsonText(usage)}\n`);
      return 0;
    }
    const { images, rwLayers, layers } = usage;
    const sizes = images.map(({ names, id, size, unique }) => [
      names[0] ?? shortId(id),
      bytesText(size),
      bytesText(size - unique),
      bytesText(unique),
    ]);
    writeOut(table(["IMAGE", "SIZE", "SHARED", "UNIQUE"], sizes));
    if (rwLayers.length > 0) writeOut(`\n${rwLayerTable(rwLayers)}`);
    const unneeded = layers.unneeded === 0 ? "" : `; ${bytesText(layers.unneeded)} of it nobody needs (tsrun layer gc)`;
    writeOut(`\n${countText(layers.count, "layer")}, ${bytesText(layers.size)}${unneeded}\n`);
    return 0;
  },
});

export const IMAGE_VERBS: readonly Verb[] = [importImage, list, inspect, history, tag, remove, commit, save, pull, df];

export function run(argv: readonly string[], globals: Globals): Promise<number> {
  return runSubverb("image", IMAGE_VERBS, argv, globals);
}
