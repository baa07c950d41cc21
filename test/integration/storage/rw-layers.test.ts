/** Read-write layers that outlive their containers: listed, counted, and removed when nobody has them. */
import { spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { prepareRootfs, type RootfsRecord, removeRootfs } from "../../../src/storage/rootfs.ts";
import { TarReader } from "../../../src/storage/tar/reader.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { run } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar } from "../../helpers/tar.ts";

const WANTED = { root: true } as const;
const describe = describeNeeds(WANTED);

let storageRoot: string;
let store: LayerStore;
let layers: string[];

beforeEach(async () => {
  if (missing(WANTED) !== undefined) return;
  storageRoot = scratch("store");
  store = new LayerStore({ storageRoot });
  const tar = join(scratch("tar"), "base.tar");
  writeFileSync(tar, makeTar([{ name: "etc/conf", content: "lower" }]));
  layers = [(await store.importLayer(tar)).chainId];
});

/** A container; with a name for its layer, or without. */
function start(id: string, rwLayer?: string): { record: RootfsRecord; stateDir: string; upper: string } {
  const stateDir = scratch("state");
  const named = rwLayer === undefined ? {} : { rwLayer };
  const record = prepareRootfs({ id, layers, userns: false, storageRoot, stateDir, ...named });
  const upper = join(storageRoot, "overlay2", record.mountId, "diff");
  return { record, stateDir, upper };
}

/** As `delete` does it. */
function end({ record, stateDir }: { record: RootfsRecord; stateDir: string }): void {
  removeRootfs(record);
  rmSync(stateDir, { recursive: true });
}

const overlay = () => readdirSync(join(storageRoot, "overlay2")).sort();
const links = () => readdirSync(join(storageRoot, "overlay2/l"));
const records = () => readdirSync(join(storageRoot, "image/overlay2/layerdb/mounts"));

/** What the store has without any read-write layer. */
function expectLayersAlone(): void {
  expect(overlay().filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual(["l"]);
  expect(overlay()).toHaveLength(2);
  expect(links()).toHaveLength(1);
  expect(records()).toEqual([]);
}

describe("storage/rw-layers", () => {
  test("a named layer is removed with its link, its snapshots and what holds the layers below", async () => {
    const container = start("c", "data");
    writeFileSync(join(container.upper, "file"), "x".repeat(10_000));
    await store.snapshot("data", "s1");
    end(container);
    expect(await store.rwLayers()).toEqual([
      { name: "data", isInUse: false, size: 12_288, snapshots: { count: 1, size: 12_288 }, driver: "overlay2" },
    ]);
    await expect(store.removeLayer(layers[0] as string)).rejects.toThrow("is needed by rw-data");
    await store.removeRwLayer("data");
    expectLayersAlone();
    expect(await store.rwLayers()).toEqual([]);
    await store.removeLayer(layers[0] as string);
    expect(await store.check()).toEqual([]);
  });

  test("an image under a named layer is not removed, and what to remove before is said", async () => {
    const tar = join(scratch("tar"), "image.tar");
    writeFileSync(tar, makeTar([{ name: "other", content: "image" }]));
    const [image] = await store.importImage(tar, { name: "base" });
    layers = [image?.chainId as string];
    end(start("c", "data"));
    await expect(store.removeImage("base")).rejects.toMatchObject({
      message: expect.stringContaining("is used by rw-data"),
      fix: "tsrun container remove data first, or use --force: their layers stay until then",
    });
    await store.removeRwLayer("data");
    expect((await store.removeImage("base")).layers).toEqual(layers);
  });

  test("a layer that a container has stays, whatever it is called by", async () => {
    const named = start("c", "data");
    const own = start("d");
    await expect(store.removeRwLayer("data")).rejects.toThrow("read-write layer data is in use by container c");
    await expect(store.removeRwLayer("c")).rejects.toMatchObject({ fix: "container c has the named layer data" });
    await expect(store.removeRwLayer("d")).rejects.toThrow("container d exists");
    for (const { upper } of [named, own]) expect(existsSync(upper)).toBe(true);
    expect((await store.rwLayers()).map(({ name, container, isInUse }) => [name, container, isInUse])).toEqual([
      ["data", "c", true],
      [undefined, "d", true],
    ]);
  });

  test("is measured, compared and exported while it changes", async () => {
    const { upper } = start("c", "data");
    const script = 'cd "$1"; while :; do mkdir d; for i in 1 2 3 4 5 6 7 8 9; do echo > d/f$i; done; rm -r d; done';
    const child = spawn("sh", ["-c", script, "sh", upper], { stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("close", resolve));
    try {
      const sizes = new Set<number>();
      for (let i = 0; i < 2000 && (i < 300 || sizes.size < 3); i++) {
        sizes.add((await store.rwLayers())[0]?.size ?? -1);
        for (const { path } of await store.diff("data")) expect(path).toMatch(/^\/d(\/f[1-9])?$/);
        const tar = new TarReader({ entry: () => {} });
        for await (const piece of await store.exportTar("data")) tar.push(piece);
        tar.finish();
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(sizes.size).toBeGreaterThan(1);
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  });

  test("what containers have left that are gone without delete is removed by their ids", async () => {
    for (const { stateDir } of [start("c", "data"), start("d")]) rmSync(stateDir, { recursive: true });
    expect((await store.rwLayers()).map(({ name, container, isInUse }) => [name, container, isInUse])).toEqual([
      ["data", undefined, false],
      [undefined, "d", false],
    ]);
    // The id of a container is not enough for a layer that has a name.
    await expect(store.removeRwLayer("c")).rejects.toThrow('has no read-write layer "c"');
    await store.removeRwLayer("d");
    await store.removeRwLayer("data");
    expectLayersAlone();
  });

  test.each(["", "..", "l", "rw-data", "../overlay2/rw-data", "no such"])("%j is no layer", async (name) => {
    end(start("c", "data"));
    await expect(store.removeRwLayer(name)).rejects.toThrow("has no read-write layer");
    expect(overlay()).toContain("rw-data");
  });

  test("a layer that was removed by hand leaves a link and an init layer, which gc takes away", async () => {
    const { stateDir, record } = start("c", "data");
    rmSync(join(storageRoot, "overlay2", record.mountId), { recursive: true });
    rmSync(stateDir, { recursive: true });
    rmSync(join(storageRoot, "image/overlay2/layerdb/mounts/c"), { recursive: true });
    expect(links()).toHaveLength(3);
    expect((await store.gc()).leftovers).toBeGreaterThan(0);
    expectLayersAlone();
  });

  test("gc takes away what is no link in the place of links, and stays in there", async () => {
    const dir = join(storageRoot, "overlay2/l");
    const outside = scratch("outside");
    mkdirSync(join(outside, "diff"));
    symlinkSync(`${outside}/diff`, join(dir, "A".repeat(26)));
    writeFileSync(join(dir, "note"), "");
    mkdirSync(join(dir, "directory"));
    expect((await store.gc()).leftovers).toBe(3);
    expect(existsSync(join(outside, "diff"))).toBe(true);
    expectLayersAlone();
  });

  test("a layer whose link is lost is removed like any other", async () => {
    end(start("c", "data"));
    const link = readFileSync(join(storageRoot, "overlay2/rw-data/link"), "utf8");
    expect(lstatSync(join(storageRoot, "overlay2/l", link)).isSymbolicLink()).toBe(true);
    unlinkSync(join(storageRoot, "overlay2/l", link));
    await store.removeRwLayer("data");
    expectLayersAlone();
  });

  describeNeeds({ root: true, tsrun: true })("on the command line", () => {
    test("they are listed, counted in df, and removed", () => {
      const container = start("c", "data");
      writeFileSync(join(container.upper, "file"), "x");
      const flags = ["--store", storageRoot];
      const list = run(["container", "layers", ...flags]).stdout;
      expect(list).toMatch(/^LAYER +CONTAINER +WRITTEN +LIMIT +SNAPSHOTS\ndata +c +4.10 kB +- +-\n$/);
      expect(run(["container", "layers", "-q", ...flags]).stdout).toBe("data\n");
      expect(run(["image", "df", ...flags]).stdout).toContain("\ndata   c          4.10 kB  -      -\n");
      const refused = run(["container", "remove", ...flags, "data"]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("in use by container c\n  fix: delete container c first");
      end(container);
      expect(run(["container", "rm", ...flags, "data"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expectLayersAlone();
    });
  });
});
