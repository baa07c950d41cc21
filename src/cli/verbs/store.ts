/** `image`, `container` and `layer`: each has verbs of its own, in cli/store/, which are loaded when one is called. */
import { defineVerb, type Globals, type Verb } from "../flags.ts";

interface Subverbs {
  run(argv: readonly string[], globals: Globals): Promise<number>;
}

function storeVerb(name: string, summary: string, notes: string, load: () => Promise<Subverbs>): Verb {
  return defineVerb({
    name,
    summary,
    usage: "<command> [flags] [arguments]",
    flags: [],
    min: 0,
    max: Number.POSITIVE_INFINITY,
    stopAtId: true,
    notes: `${notes}\n\n\`tsrun ${name} <command> --help\` prints the flags of a command.`,
    run: ({ args, globals }) => load().then((verbs) => verbs.run(args, globals)),
  });
}

export const image = storeVerb(
  "image",
  "import, list, save and remove images",
  `import  <layout|archive|tar|-> [name]   bring images into the store (OCI layout, docker save, a rootfs tar)
list                                    the images in the store
inspect <image>                         config, layers and names
history <image>                         how it was made
tag     <image> <name>                  one more name
remove  <image>...                      take names away, and with the last one the image
commit  <container> [name]              an image of what a container has changed
save    <image>... -o <path>            OCI layout, OCI archive or docker-archive
pull    <image> [name]                  from a registry, through skopeo
df                                      what images, read-write layers and layers take`,
  () => import("../store/image.ts"),
);

export const container = storeVerb(
  "container",
  "read-write layers and their snapshots",
  `layers                                  list the read-write layers
remove    <layer>...                    remove read-write layers that no container has
snapshot  <container> <name>            keep its read-write layer as it is now
snapshots <container>                   list them
rollback  <layer> <name>                make a named layer that no container has what it was
forget    <container> <name>            remove a snapshot`,
  () => import("../store/container.ts"),
);

export const layer = storeVerb(
  "layer",
  "import, verify and look into layers",
  `import  <tar|-> [--parent id]           bring one tar into the store as a layer
list                                    the layers in the store, and who needs them
tree                                    the same as a tree
diff    <container>                     what a container has changed
export  <layer|container|image>         its tar, on standard output or -o
why     <container|image> <path>        which layer a path comes from, and what it hides
check   [--repair]                      verify every layer against its digest
gc                                      remove what nobody needs
remove  <layer>...                      remove layers that were imported by themselves`,
  () => import("../store/layer.ts"),
);
