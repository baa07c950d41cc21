/** The walk through what overlayfs does: each change of a container as it lies on disk, in `diff`, and in a commit. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { mountRootfs } from "../../../src/storage/mount.ts";
import { prepareRootfs, type RootfsRecord, removeRootfs } from "../../../src/storage/rootfs.ts";
import { AT_FDCWD, MNT_DETACH, O_DIRECTORY, O_PATH } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen, moveMount, umount2 } from "../../../src/sys/mount.ts";
import { getXattrAt } from "../../../src/sys/xattr.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar, type TestEntry } from "../../helpers/tar.ts";

const WANTED = { root: true, kernel: [6, 8] } as const;
const describe = describeNeeds(WANTED);

let store: LayerStore;
let storageRoot: string;
let layers: string[];
let containers: RootfsRecord[];
let mounts: Fd[];

const LOWER: TestEntry[] = [
  { name: "etc/", mode: 0o755 },
  { name: "etc/conf", content: "lower" },
  { name: "gone", content: "to be deleted" },
  { name: "dir/a", content: "a" },
  { name: "dir/b", content: "b" },
  { name: "move/x", content: "x" },
  { name: "move/y", content: "y" },
];
const UPPER: TestEntry[] = [
  { name: "etc/conf", content: "upper" },
  { name: "etc/other", content: "other" },
];

beforeEach(async () => {
  if (missing(WANTED) !== undefined) return;
  storageRoot = scratch("store");
  store = new LayerStore({ storageRoot });
  containers = [];
  mounts = [];
  layers = [];
  for (const entries of [LOWER, UPPER]) {
    const tar = join(scratch("tar"), "t.tar");
    writeFileSync(tar, makeTar(entries));
    layers.push((await store.importLayer(tar, layers.at(-1))).chainId);
  }
});

afterEach(() => {
  for (const mount of mounts ?? []) mount[Symbol.dispose]();
  for (const container of containers ?? []) removeRootfs(container);
});

/** Prepares a container and mounts its root. @returns a path into it */
function start(id: string, rwLayer?: string): { root: string; record: RootfsRecord; upper: string } {
  const record = prepareRootfs({
    id,
    layers,
    userns: false,
    storageRoot,
    hostname: "walk",
    ...(rwLayer && { rwLayer }),
  });
  if (!containers.some((known) => known.id === id)) containers.push(record);
  const mount = new Fd(mountRootfs(record));
  mounts.push(mount);
  return { root: `/proc/self/fd/${mount.fd}`, record, upper: join(dirname(record.merged), "diff") };
}

const changes = async (id: string) => (await store.diff(id)).map(({ kind, path }) => `${kind} ${path}`);

function mark(path: string, name: string): string | undefined {
  using parent = new Fd(open(dirname(path), O_PATH | O_DIRECTORY));
  const value = getXattrAt(parent.fd, Buffer.from(basename(path)), `trusted.overlay.${name}`);
  return value === undefined ? undefined : Buffer.from(value).toString();
}

const isWhiteout = (path: string) => lstatSync(path).isCharacterDevice() && lstatSync(path).rdev === 0;

/** Commits, and gives the entries of the new layer. */
async function committed(id: string): Promise<string[]> {
  const { chainId } = await store.commit(id, { epoch: 1 });
  const parts: Uint8Array[] = [];
  for await (const part of await store.layerTar(chainId)) parts.push(part);
  const { TarReader } = await import("../../../src/storage/tar/reader.ts");
  const names: string[] = [];
  const reader = new TarReader({
    entry: ({ name, type, linkName }) => names.push(type === "link" ? `${name} -> ${linkName}` : name),
  });
  for (const part of parts) reader.push(part);
  expect(await store.check()).toEqual([]);
  return names;
}

describe("the walk through overlay", () => {
  test("nothing was changed: the upper directory is empty, and so are diff and commit", async () => {
    const { root, upper } = start("c");
    expect(readFileSync(join(root, "etc/conf"), "utf8")).toBe("upper");
    expect(readdirSync(upper)).toEqual([]);
    expect(await changes("c")).toEqual([]);
    expect(await committed("c")).toEqual([]);
  });

  test("a file that is added is in the upper directory alone", async () => {
    const { root, upper } = start("c");
    writeFileSync(join(root, "new"), "new");
    expect(readFileSync(join(upper, "new"), "utf8")).toBe("new");
    expect(await changes("c")).toEqual(["A /new"]);
    expect(await committed("c")).toEqual(["new"]);
  });

  test("a file that is changed is copied up, and the layer keeps what it had", async () => {
    const { root, upper } = start("c");
    appendFileSync(join(root, "etc/conf"), " and more");
    expect(readFileSync(join(upper, "etc/conf"), "utf8")).toBe("upper and more");
    expect(await changes("c")).toEqual(["C /etc", "C /etc/conf"]);
    expect(await committed("c")).toEqual(["etc/", "etc/conf"]);
    expect(await store.check()).toEqual([]);
  });

  test("a change of the mode alone is a change", async () => {
    const { root } = start("c");
    chmodSync(join(root, "etc/other"), 0o600);
    expect(await changes("c")).toEqual(["C /etc", "C /etc/other"]);
  });

  test("a file of the lower layer that is deleted becomes a whiteout, and one of the upper layer leaves nothing", async () => {
    const { root, upper } = start("c");
    unlinkSync(join(root, "gone"));
    writeFileSync(join(root, "short"), "lived");
    unlinkSync(join(root, "short"));
    expect(isWhiteout(join(upper, "gone"))).toBe(true);
    expect(existsSync(join(upper, "short"))).toBe(false);
    expect(await changes("c")).toEqual(["D /gone"]);
    expect(await committed("c")).toEqual([".wh.gone"]);
  });

  test("a directory that is deleted and made again is opaque, and what it hid is deleted", async () => {
    const { root, upper } = start("c");
    rmSync(join(root, "dir"), { recursive: true });
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "dir/c"), "c");
    expect(mark(join(upper, "dir"), "opaque")).toBe("y");
    expect(readdirSync(join(root, "dir"))).toEqual(["c"]);
    expect(await changes("c")).toEqual(["C /dir", "D /dir/a", "D /dir/b", "A /dir/c"]);
    expect(await committed("c")).toEqual(["dir/", "dir/.wh..wh..opq", "dir/c"]);
  });

  test("a file in the place of a directory, and a directory in the place of a file", async () => {
    const { root } = start("c");
    rmSync(join(root, "dir"), { recursive: true });
    writeFileSync(join(root, "dir"), "file now");
    unlinkSync(join(root, "gone"));
    mkdirSync(join(root, "gone"));
    expect(await changes("c")).toEqual(["C /dir", "C /gone"]);
    expect(await committed("c")).toEqual(["dir", "gone/", "gone/.wh..wh..opq"]);
  });

  test("a directory of a lower layer that is renamed is written in full, wherever overlayfs only redirected it", async () => {
    const record = prepareRootfs({ id: "c", layers, userns: false, storageRoot });
    containers.push(record);
    const home = dirname(record.merged);
    const at = scratch("at");
    {
      using context = new Fd(fsopen("overlay"));
      for (const [name, value] of [
        ["redirect_dir", "on"],
        ["metacopy", "on"],
        ["index", "off"],
      ] as const)
        fsconfigSet(context.fd, name, value);
      const lower = readFileSync(join(home, "lower"), "utf8").split(":");
      for (const link of lower) fsconfigSet(context.fd, "lowerdir+", join(storageRoot, "overlay2", link));
      fsconfigSet(context.fd, "upperdir", join(home, "diff"));
      fsconfigSet(context.fd, "workdir", join(home, "work"));
      fsconfigCreate(context.fd);
      using mount = new Fd(fsmount(context.fd));
      moveMount(mount.fd, "", AT_FDCWD, at);
    }
    try {
      renameSync(join(at, "move"), join(at, "moved"));
      writeFileSync(join(at, "moved/z"), "z");
      chmodSync(join(at, "etc/other"), 0o600);
    } finally {
      umount2(at, MNT_DETACH);
    }
    const upper = join(home, "diff");
    expect(mark(join(upper, "moved"), "redirect")).toBeDefined();
    expect(mark(join(upper, "etc/other"), "metacopy")).toBeDefined();
    expect(await changes("c")).toEqual([
      "C /etc",
      "C /etc/other",
      "D /move",
      "A /moved",
      "A /moved/x",
      "A /moved/y",
      "A /moved/z",
    ]);
    expect(await committed("c")).toEqual(["etc/", "etc/other", ".wh.move", "moved/", "moved/x", "moved/y", "moved/z"]);
    const [image] = await store.images();
    const top = image?.layers.at(-1) ?? "";
    const cacheId = readFileSync(join(storageRoot, "image/overlay2/layerdb/sha256", top.slice(7), "cache-id"), "utf8");
    expect(readFileSync(join(storageRoot, "overlay2", cacheId, "diff/etc/other"), "utf8")).toBe("other");
    expect(readFileSync(join(storageRoot, "overlay2", cacheId, "diff/moved/x"), "utf8")).toBe("x");
  });

  test("hard links that are made stay hard links in a commit", async () => {
    const { root } = start("c");
    writeFileSync(join(root, "one"), "1");
    linkSync(join(root, "one"), join(root, "two"));
    symlinkSync("one", join(root, "three"));
    expect(await committed("c")).toEqual(["one", "three", "two -> one"]);
  });

  test("a named layer has at the next start what was written at the last", async () => {
    const { root, record } = start("c", "data");
    writeFileSync(join(root, "kept"), "kept");
    unlinkSync(join(root, "gone"));
    mounts.pop()?.[Symbol.dispose]();
    removeRootfs(record);
    expect(await changes("data")).toEqual(["D /gone", "A /kept"]);
    const again = start("d", "data");
    expect(readFileSync(join(again.root, "kept"), "utf8")).toBe("kept");
    expect(existsSync(join(again.root, "gone"))).toBe(false);
    expect(await changes("d")).toEqual(["D /gone", "A /kept"]);
  });

  test("two containers of the same layers do not see each other's changes", async () => {
    const one = start("one");
    const two = start("two");
    writeFileSync(join(one.root, "etc/conf"), "one");
    unlinkSync(join(two.root, "gone"));
    expect(readFileSync(join(two.root, "etc/conf"), "utf8")).toBe("upper");
    expect(existsSync(join(one.root, "gone"))).toBe(true);
    expect([await changes("one"), await changes("two")]).toEqual([["C /etc", "C /etc/conf"], ["D /gone"]]);
  });

  test("the init layer is seen, and is never part of a diff or a commit", async () => {
    const { root, upper } = start("c");
    expect(readFileSync(join(root, "etc/hostname"), "utf8")).toBe("walk\n");
    writeFileSync(join(root, "etc/new"), "n");
    expect(readdirSync(join(upper, "etc"))).toEqual(["new"]);
    expect(await changes("c")).toEqual(["C /etc", "A /etc/new"]);
    expect(await committed("c")).toEqual(["etc/", "etc/new"]);
  });

  test("what was committed is what the next container sees, layer upon layer", async () => {
    const { root } = start("c");
    writeFileSync(join(root, "etc/conf"), "third");
    rmSync(join(root, "dir"), { recursive: true });
    const { chainId } = await store.commit("c", { name: "next" });
    layers = (await store.image("next")).layers;
    expect(layers.at(-1)).toBe(chainId);
    const next = start("d");
    expect(readFileSync(join(next.root, "etc/conf"), "utf8")).toBe("third");
    expect(readdirSync(next.root).sort()).toEqual(["dev", "etc", "gone", "move", "proc", "sys"]);
  });

  test("a layer that a container lies on is not collected, and goes when the container has gone", async () => {
    const { record } = start("c");
    for (const layer of [...layers].reverse()) await expect(store.removeLayer(layer)).rejects.toThrow(/is needed by/);
    mounts.pop()?.[Symbol.dispose]();
    removeRootfs(record);
    await store.removeLayer(layers[1] as string);
    await store.removeLayer(layers[0] as string);
    expect(readdirSync(join(storageRoot, "overlay2"))).toEqual(["l"]);
  });

  test("a snapshot keeps whiteouts, marks and links, and a rollback brings them back", async () => {
    const { root, record, upper } = start("c", "data");
    unlinkSync(join(root, "gone"));
    rmSync(join(root, "dir"), { recursive: true });
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "one"), "1");
    linkSync(join(root, "one"), join(root, "dir/two"));
    chmodSync(join(root, "one"), 0o4711);
    const before = await changes("data");
    const time = lstatSync(join(root, "one"), { bigint: true }).mtimeNs;
    await store.snapshot("data", "s1");
    await expect(store.snapshot("data", "s1")).rejects.toThrow("has a snapshot s1 already");
    writeFileSync(join(root, "gone"), "back");
    unlinkSync(join(root, "one"));
    mounts.pop()?.[Symbol.dispose]();
    removeRootfs(record);
    await store.rollback("data", "s1");
    expect(await changes("data")).toEqual(before);
    expect(isWhiteout(join(upper, "gone"))).toBe(true);
    expect(mark(join(upper, "dir"), "opaque")).toBe("y");
    expect(lstatSync(join(upper, "one")).ino).toBe(lstatSync(join(upper, "dir/two")).ino);
    expect(lstatSync(join(upper, "one")).mode & 0o7777).toBe(0o4711);
    expect(lstatSync(join(upper, "one"), { bigint: true }).mtimeNs).toBe(time);
    expect(await store.snapshots("data")).toEqual(["s1"]);
    await store.forgetSnapshot("data", "s1");
    await expect(store.rollback("data", "s1")).rejects.toThrow("has no snapshot s1");
  });

  test("a layer that a container has is not rolled back under it", async () => {
    const stateDir = scratch("state");
    const record = prepareRootfs({ id: "c", layers, userns: false, storageRoot, rwLayer: "data", stateDir });
    containers.push(record);
    await store.snapshot("data", "s1");
    await expect(store.rollback("data", "s1")).rejects.toThrow("in use by container c");
  });

  test("a view for kernels that mount at a place alone shows the same, and leaves no place behind", async () => {
    const { mountAtPlace, mountView } = await import("../../../src/storage/merged-view.ts");
    const directories = [...layers].reverse().map((id) => {
      const record = join(storageRoot, "image/overlay2/layerdb/sha256", id.slice(7), "cache-id");
      return join(storageRoot, "overlay2", readFileSync(record, "utf8"), "diff");
    });
    using one = mountAtPlace(directories, false);
    using other = mountView(directories);
    for (const { fd } of [one, other]) {
      expect(readFileSync(`/proc/self/fd/${fd}/etc/conf`, "utf8")).toBe("upper");
      expect(readdirSync(`/proc/self/fd/${fd}`).sort()).toEqual(["dir", "etc", "gone", "move"]);
    }
    expect(readdirSync("/run").filter((name) => name.startsWith("tsrun-view"))).toEqual([]);
  });
});
