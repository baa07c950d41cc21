/** Any tar becomes here what it becomes with GNU tar, and any image of two layers what it becomes with umoci. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { tool } from "../../helpers/images.ts";
import { needs } from "../../helpers/needs.ts";
import { agreeable, entriesOf, modelOf, type RandomEntry, writeRandomTar } from "../../helpers/random-tar.ts";
import { scratch } from "../../helpers/scratch.ts";

/** TSRUN_RUNS=500 tries as many; a run of the suite some. */
const RUNS = Number(process.env.TSRUN_RUNS ?? 10);
const FORMAT = fc.constantFrom("gnu" as const, "pax" as const);

/**
 * Every name with type, mode, owner, target, number of links, size and digest, device; the time of what is no directory
 * (an implied one has any).
 */
function listing(dir: string): string {
  const script = `cd "$1"
    find . -mindepth 1 ! -type d -printf '%P %y %m %U %G %T@ %s %l %n\\n' | sort
    find . -mindepth 1 -type d -printf '%P %y %m %U %G\\n' | sort
    find . -type c -print0 | sort -z | xargs -0r stat -c '%n %t:%T'
    find . -type f -print0 | sort -z | xargs -0r sha256sum`;
  return tool("bash", ["-c", script, "listing", dir]);
}

needs({ root: true, native: true, commands: ["tar", "python3"] })(
  `a layer of random entries is what GNU tar makes of it (${RUNS} runs)`,
  async () => {
    const entries = entriesOf("file", "directory", "symlink", "link", "fifo", "char");
    let run = 0;
    await fc.assert(
      fc.asyncProperty(entries, FORMAT, async (random, format) => {
        const dir = scratch(`random-${++run}`);
        const tar = join(dir, "t.tar");
        writeRandomTar(agreeable(random), tar, format);
        mkdirSync(join(dir, "gnu"));
        tool("tar", ["-C", join(dir, "gnu"), "--numeric-owner", "-xpf", tar]);
        const store = new LayerStore({ storageRoot: join(dir, "store") });
        const { chainId } = await store.importLayer(tar);
        expect(listing(contentOf(join(dir, "store"), chainId))).toBe(listing(join(dir, "gnu")));
        expect(await bytesOf(await store.layerTar(chainId))).toEqual(readFileSync(tar));
        rmSync(dir, { recursive: true });
      }),
      { numRuns: RUNS },
    );
  },
  600_000,
);

needs({ root: true, native: true, commands: ["umoci", "tar", "python3"] })(
  `an image of two random layers is what umoci makes of it (${RUNS} runs)`,
  async () => {
    const lower = entriesOf("file", "directory", "symlink", "link", "fifo");
    const upper = entriesOf("file", "directory", "symlink", "link", "whiteout", "whiteout", "opaque");
    let run = 0;
    await fc.assert(
      fc.asyncProperty(lower, upper, FORMAT, async (first, second, format) => {
        const dir = scratch(`image-${++run}`);
        const base = withoutSetgid(agreeable(first));
        const top = withoutSetgid(agreeable(second, modelOf(base)));
        writeRandomTar(base, join(dir, "1.tar"), format);
        writeRandomTar(top, join(dir, "2.tar"), format);
        writeLayout(join(dir, "layout"), [join(dir, "1.tar"), join(dir, "2.tar")]);
        tool("umoci", ["raw", "unpack", "--image", `${join(dir, "layout")}:v1`, join(dir, "umoci")]);

        const store = new LayerStore({ storageRoot: join(dir, "store") });
        await store.importImage(join(dir, "layout"), { name: "random" });
        // As the kernel's overlayfs shows it, by way of a tar.
        writeFileSync(join(dir, "all.tar"), await bytesOf(await store.exportTar("random:v1")));
        mkdirSync(join(dir, "ours"));
        tool("tar", ["-C", join(dir, "ours"), "--numeric-owner", "-xpf", join(dir, "all.tar")]);
        expect(listing(join(dir, "ours"))).toBe(listing(join(dir, "umoci")));
        rmSync(dir, { recursive: true });
      }),
      { numRuns: RUNS },
    );
  },
  600_000,
);

/** In a setgid directory one that no entry is about is setgid, too, with umoci and not with GNU tar. */
function withoutSetgid(entries: RandomEntry[]): RandomEntry[] {
  return entries.map((entry) => (entry.kind === "directory" ? { ...entry, mode: entry.mode & ~0o2000 } : entry));
}

function contentOf(storageRoot: string, chainId: string): string {
  const record = join(storageRoot, "image/overlay2/layerdb/sha256", chainId.slice(7));
  return join(storageRoot, "overlay2", readFileSync(join(record, "cache-id"), "utf8"), "diff");
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of pieces) parts.push(part);
  return Buffer.concat(parts);
}

/** An OCI image layout with one image, tagged v1, of uncompressed layers. */
function writeLayout(layout: string, tars: readonly string[]): void {
  const blobs = join(layout, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const blob = (content: Buffer | string, mediaType: string) => {
    const digest = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(blobs, digest), content);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.from(content).length };
  };
  const layers = tars.map((tar) => blob(readFileSync(tar), "application/vnd.oci.image.layer.v1.tar"));
  const config = {
    os: "linux",
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    config: {},
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: blob(JSON.stringify(config), "application/vnd.oci.image.config.v1+json"),
    layers,
  };
  const annotations = { "org.opencontainers.image.ref.name": "v1" };
  const index = [{ ...blob(JSON.stringify(manifest), manifest.mediaType), annotations }];
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: index }));
}
