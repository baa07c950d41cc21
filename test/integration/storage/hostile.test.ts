/** Archives that want to write somewhere else, or to hang us: each ends with a right layer or a clear error. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { compressed } from "../../../src/storage/compression.ts";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { concat, formatHeader } from "../../../src/storage/tar/writer.ts";
import { O_DIRECTORY, O_RDONLY } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { getXattrAt, listXattrsAt } from "../../../src/sys/xattr.ts";
import { describeNeeds, missing, needs } from "../../helpers/needs.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar, paxHeader, type TestEntry, testEntry } from "../../helpers/tar.ts";

const describe = describeNeeds({ root: true });
const OUTSIDE = { content: "outside\n", mode: 0o100644 };

let dir: string;
let store: LayerStore;

beforeEach(() => {
  if (missing({ root: true }) !== undefined) return;
  dir = scratch("hostile");
  writeFileSync(join(dir, "victim"), OUTSIDE.content);
  mkdirSync(join(dir, "store"));
  store = new LayerStore({ storageRoot: join(dir, "store") });
});

/** Imports a tar and gives the directory of the layer. */
async function unpack(tar: Uint8Array | readonly TestEntry[], parent?: string): Promise<string> {
  writeFileSync(join(dir, "in.tar"), tar instanceof Uint8Array ? tar : makeTar(tar));
  const { chainId } = await store.importLayer(join(dir, "in.tar"), parent);
  return contentOf(chainId);
}

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return concat(parts);
}

function contentOf(chainId: string): string {
  const cacheId = readFileSync(join(dir, "store/image/overlay2/layerdb/sha256", chainId.slice(7), "cache-id"), "utf8");
  return join(dir, "store/overlay2", cacheId, "diff");
}

/** The import fails with this, the store is as it was, and nothing outside has changed. */
async function expectRefused(tar: Uint8Array | readonly TestEntry[], message: RegExp | string): Promise<void> {
  await expect(unpack(tar)).rejects.toThrow(message);
  expectUntouched();
  expect(readdirSync(join(dir, "store/overlay2"))).toEqual(["l"]);
  expect(await store.layers()).toEqual([]);
}

function expectUntouched(): void {
  expect(readdirSync(dir).sort()).toEqual(["in.tar", "store", "victim"]);
  expect(readFileSync(join(dir, "victim"), "utf8")).toBe(OUTSIDE.content);
  expect(statSync(join(dir, "victim")).mode).toBe(OUTSIDE.mode);
}

/** From the layer's diff to the directory that holds the victim. */
const UP = "../../../..";

describe("a layer's tar", () => {
  test("with a name that leads out by .. is refused", async () => {
    await expectRefused([{ name: `${UP}/victim`, content: "x" }], 'its name has ".." in it');
    await expectRefused([{ name: "a/../../x", content: "x" }], '".."');
    await expectRefused([{ name: "a/../" }], '".."');
  });

  test.each(["gzip", "zstd"])("whose %s is cut off is refused, wherever that is", async (compression) => {
    const files = Array.from({ length: 3000 }, (_, i) => ({ name: `f${i}`, content: `${i * 7919}`.repeat(20) }));
    const whole = await bytesOf(compressed([makeTar(files)], compression as "gzip" | "zstd"));
    for (let cut = 20; cut < whole.length; cut += Math.ceil(whole.length / 25))
      await expectRefused(whole.subarray(0, cut), /damaged|cut off|is empty|in the middle of/);
    expect(readdirSync(await unpack(whole))).toHaveLength(3000);
  });

  test("whose gzip is none is refused in words", async () => {
    const damaged = Buffer.from(await bytesOf(compressed([makeTar([{ name: "f", content: "x" }])], "gzip")));
    damaged.fill(0x55, 12, 20);
    await expectRefused(damaged, "its gzip is damaged: ");
  });

  test("with an ACL that is none is refused, and one on what was replaced stays off what is there", async () => {
    const file = makeTar([{ name: "f", content: "x" }]);
    const withAcl = (text: string) => concat([paxHeader({ "SCHILY.acl.access": text }), file]);
    await expectRefused(withAcl("user::rwx"), "SCHILY.acl.access: the ACL has 0 entries for the owning group");
    await expectRefused(withAcl(`${"user:a:rwx,".repeat(50_000)}`), "the ACL has 0 entries for the owner");
    const named = "user::rw-,user:app:rwx,group::r--,mask::rwx,other::r--";
    const passwd = makeTar([{ name: "etc/passwd", content: "app:x:4001:1::/:\n" }], { trailer: false });
    const once = concat([
      passwd,
      paxHeader({ "SCHILY.acl.access": named }),
      makeTar([{ name: "f" }], { trailer: false }),
    ]);
    for (const [rest, mode] of [
      [makeTar([]), 0o674],
      [makeTar([{ name: "f", content: "other", mode: 0o600 }]), 0o600],
      [makeTar([{ name: "f", type: "symlink", linkName: `${UP}/victim` }]), 0o777],
      [makeTar([{ name: "f/", mode: 0o700 }]), 0o700],
    ] as const) {
      const layer = await unpack(concat([once, rest]));
      expect(lstatSync(join(layer, "f")).mode & 0o777).toBe(mode);
      expectUntouched();
    }
  });

  test("with an absolute name writes below the layer's top", async () => {
    const layer = await unpack([{ name: `${dir}/victim`, content: "x" }]);
    expect(readFileSync(join(layer, dir, "victim"), "utf8")).toBe("x");
    expectUntouched();
  });

  test("with a link and a name through it stays inside, wherever the link leads", async () => {
    for (const target of [dir, `${UP}/..`, "/", UP]) {
      const entries: TestEntry[] = [
        { name: "link", type: "symlink", linkName: target },
        { name: "link/victim", content: "x" },
      ];
      // The link is resolved as the container would: its target is below the layer's top, or not there.
      await unpack(entries).then(
        (layer) => expect(lstatSync(join(layer, "link")).isSymbolicLink()).toBe(true),
        (error: Error) => expect(error.message).toContain("link/victim"),
      );
      expectUntouched();
      await store.gc();
      for (const { chainId } of await store.layers()) await store.removeLayer(chainId);
    }
  });

  test("with a link in the place of a file replaces it, and does not write through it", async () => {
    const layer = await unpack([
      { name: "file", type: "symlink", linkName: `${UP}/victim` },
      { name: "file", content: "mine" },
    ]);
    expect(lstatSync(join(layer, "file")).isFile()).toBe(true);
    expectUntouched();
  });

  test("with a link in the place of a directory changes no mode behind it", async () => {
    const layer = await unpack([
      { name: "d", type: "symlink", linkName: UP },
      { name: "d/", mode: 0o777 },
      { name: "d/victim", content: "x" },
    ]);
    expect(lstatSync(join(layer, "d")).isDirectory()).toBe(true);
    expectUntouched();
  });

  test("with a hard link to the outside is refused, also by way of a symbolic link", async () => {
    await expectRefused([{ name: "a", type: "link", linkName: `${UP}/victim` }], '".."');
    await expectRefused([{ name: "a", type: "link", linkName: `${dir}/victim` }], "which this layer does not have");
    await expectRefused(
      [
        { name: "up", type: "symlink", linkName: dir },
        { name: "a", type: "link", linkName: "up/victim" },
      ],
      "which this layer does not have",
    );
    await expectRefused([{ name: "a", type: "link", linkName: "." }], "hard link to the top");
  });

  test("with a hard link to a symbolic link has two names of the link", async () => {
    const layer = await unpack([
      { name: "s", type: "symlink", linkName: `${UP}/victim` },
      { name: "h", type: "link", linkName: "s" },
    ]);
    expect(readlinkSync(join(layer, "h"))).toBe(`${UP}/victim`);
    expectUntouched();
  });

  test("with devices has them in the layer, with mode and owner, and nothing is opened", async () => {
    const layer = await unpack([
      { name: "null", type: "char", devMajor: 1, devMinor: 3, mode: 0o666, uid: 5 },
      { name: "disk", type: "block", devMajor: 254, devMinor: 77, mode: 0o600 },
      { name: "pipe", type: "fifo", mode: 0o622 },
    ]);
    const device = lstatSync(join(layer, "null"));
    expect([device.isCharacterDevice(), device.rdev, device.mode & 0o7777, device.uid]).toEqual([
      true,
      0x103,
      0o666,
      5,
    ]);
    expect(lstatSync(join(layer, "disk")).isBlockDevice()).toBe(true);
    expect(lstatSync(join(layer, "pipe")).isFIFO()).toBe(true);
  });

  test("with a whiteout of ., .. or nothing is refused", async () => {
    await expectRefused([{ name: "a/.wh..." }], 'it would delete ".."');
    await expectRefused([{ name: ".wh.." }], 'it would delete "."');
    await expectRefused([{ name: "a/.wh." }], "it would delete nothing");
  });

  test("with whiteouts hides what is below, and not what it has itself, in either order", async () => {
    const base = await store.importLayer(
      await tarFile([{ name: "a/x" }, { name: "a/y" }, { name: "d/old" }, { name: "o/old" }]),
    );
    const layer = await unpack(
      [
        { name: "a/.wh.x" },
        { name: "a/y", content: "own" },
        { name: "a/.wh.y" },
        { name: ".wh.d" },
        { name: "d/" },
        { name: "d/new" },
        { name: "o/" },
        { name: "o/new" },
        { name: "o/.wh..wh..opq" },
        { name: "o/.wh.old" },
        { name: "none/.wh.nothing" },
      ],
      base.chainId,
    );
    expect(lstatSync(join(layer, "a/x")).rdev).toBe(0);
    expect(lstatSync(join(layer, "a/x")).isCharacterDevice()).toBe(true);
    expect(readFileSync(join(layer, "a/y"), "utf8")).toBe("own");
    expect(opaque(join(layer, "d"))).toBe("y");
    expect(opaque(join(layer, "o"))).toBe("y");
    // The kernel would list a whiteout in an opaque directory, or in one that is nowhere below.
    expect(readdirSync(join(layer, "o"))).toEqual(["new"]);
    expect(readdirSync(join(layer, "none"))).toEqual([]);
    expect(await store.check()).toEqual([]);
  });

  test("with a directory that it only implies takes mode and owner from the layer below", async () => {
    const base = await store.importLayer(
      await tarFile([{ name: "a/", mode: 0o1770, uid: 7, gid: 8 }, { name: "a/x" }]),
    );
    const layer = await unpack([{ name: "a/.wh.x" }], base.chainId);
    const { mode, uid, gid } = statSync(join(layer, "a"));
    expect([mode & 0o7777, uid, gid]).toEqual([0o1770, 7, 8]);
  });

  test("with marks of overlayfs among its attributes has them escaped, so that the mount goes nowhere else", async () => {
    const layer = await unpack([
      {
        name: "d/",
        xattrs: [
          ["trusted.overlay.redirect", Buffer.from("/etc")],
          ["trusted.overlay.opaque", Buffer.from("y")],
        ],
      },
    ]);
    const names = xattrs(join(layer, "d"));
    expect(names.sort()).toEqual(["trusted.overlay.overlay.opaque", "trusted.overlay.overlay.redirect"]);
  });

  test("with a sparse file of 4 GB is unpacked in no time and no room", async () => {
    const head = gnuSparse(4 * 2 ** 30, [[4 * 2 ** 30 - 512, 512]]);
    const layer = await unpack(Buffer.concat([head, Buffer.alloc(512, "x"), Buffer.alloc(1024)]));
    const { size, blocks } = statSync(join(layer, "sparse"));
    expect(size).toBe(4 * 2 ** 30);
    expect(blocks).toBeLessThan(100);
    expect(await store.check()).toEqual([]);
  });

  test("that says it has more than it has is refused", async () => {
    await expectRefused(makeTar([{ name: "a", content: "x".repeat(5000) }]).subarray(0, 3000), "ends after 3000 bytes");
    const huge = formatHeader({ ...testEntry({ name: "a" }), size: 2 ** 50 });
    await expectRefused(huge, "in the middle of the content");
  });

  test("with a wrong checksum, or of no known type, is refused", async () => {
    const tar = makeTar([{ name: "a" }, { name: "b" }]);
    tar[1000] = 1;
    await expectRefused(tar, "wrong checksum");
    await expectRefused(Buffer.alloc(5000, "no tar"), "wrong checksum");
  });

  test("with a name longer than a file system has is refused with the kernel's word for it", async () => {
    await expectRefused([{ name: "n".repeat(256) }], "ENAMETOOLONG");
  });

  test("with a name twice has the last, and comes out again byte for byte all the same", async () => {
    const tar = makeTar(
      [
        { name: "a", content: "first" },
        { name: "b", content: "b" },
        { name: "a", content: "second" },
        { name: "d/x", content: "in a directory" },
        { name: "d", content: "no directory" },
        { name: "e", content: "no directory" },
        { name: "e/y", content: "in it" },
      ].slice(0, 5) as TestEntry[],
    );
    const layer = await unpack(tar);
    expect(readFileSync(join(layer, "a"), "utf8")).toBe("second");
    expect(readFileSync(join(layer, "d"), "utf8")).toBe("no directory");
    const [{ chainId } = { chainId: "" }] = await store.layers();
    expect(Buffer.concat(await collect(chainId)).equals(tar)).toBe(true);
    expect(await store.check()).toEqual([]);
  });

  test("with a file in the place of a directory on the way is refused", async () => {
    await expectRefused(
      [
        { name: "e", content: "x" },
        { name: "e/y", content: "y" },
      ],
      "ENOTDIR",
    );
  });

  needs({ native: true })(
    "with 100,000 entries is unpacked, and memory does not grow with it",
    async () => {
      const parts: Uint8Array[] = [];
      for (let i = 0; i < 100_000; i++) parts.push(formatHeader(testEntry({ name: `d${i % 100}/f${i}` })));
      parts.push(new Uint8Array(1024));
      writeFileSync(join(dir, "in.tar"), Buffer.concat(parts));
      parts.length = 0;
      const before = process.memoryUsage().rss;
      const { chainId } = await store.importLayer(join(dir, "in.tar"));
      expect(readdirSync(join(contentOf(chainId), "d7")).length).toBe(1000);
      expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(150);
    },
    120_000,
  );

  test("in any order of hostile entries never writes outside", async () => {
    const name = fc.constantFrom(
      "a",
      "b",
      "a/b",
      "b/a",
      "./a",
      "/a",
      "a/..",
      "..",
      "a/../../victim",
      "b/",
      `${UP}/victim`,
      "a/victim",
      "b/victim",
    );
    const target = fc.constantFrom("a", "b", ".", "..", "/", UP, `${UP}/victim`, "a/b", "b/../..");
    const entry = fc.record({
      name,
      linkName: target,
      type: fc.constantFrom("file", "directory", "symlink", "link", "fifo", "char") as fc.Arbitrary<TestEntry["type"]>,
      content: fc.constantFrom("", "data"),
      mode: fc.constantFrom(0o777, 0),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 8 }), async (entries) => {
        const clean = entries.map((each) => (each.type === "file" ? each : { ...each, content: "" })) as TestEntry[];
        try {
          await unpack(clean);
          expect(await store.check()).toEqual([]);
        } catch (error) {
          expect(["TarError", "TsrunError"]).toContain((error as Error).name);
        }
        expectUntouched();
        for (const { chainId } of await store.layers()) await store.removeLayer(chainId);
        expect(readdirSync(join(dir, "store/overlay2"))).toEqual(["l"]);
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});

async function tarFile(entries: readonly TestEntry[]): Promise<string> {
  writeFileSync(join(dir, "in.tar"), makeTar(entries));
  return join(dir, "in.tar");
}

async function collect(chainId: string): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of await store.layerTar(chainId)) parts.push(part);
  return parts;
}

function opaque(path: string): string {
  using parent = new Fd(open(join(path, ".."), O_RDONLY | O_DIRECTORY));
  return Buffer.from(getXattrAt(parent.fd, Buffer.from(basename(path)), "trusted.overlay.opaque") ?? []).toString();
}

function xattrs(path: string): string[] {
  using parent = new Fd(open(join(path, ".."), O_RDONLY | O_DIRECTORY));
  return listXattrsAt(parent.fd, Buffer.from(basename(path))).map((name) => Buffer.from(name).toString());
}

/** A header of GNU's old sparse format. */
function gnuSparse(size: number, pieces: readonly [offset: number, length: number][]): Uint8Array {
  const content = pieces.reduce((sum, [, length]) => sum + length, 0);
  const head = Buffer.from(formatHeader({ ...testEntry({ name: "sparse" }), size: content }));
  head.write("S", 156);
  head.write("ustar  \0", 257, "latin1");
  head.fill(0, 345, 512);
  pieces.forEach(([offset, length], i) => {
    head.write(offset.toString(8).padStart(11, "0"), 386 + 24 * i);
    head.write(length.toString(8).padStart(11, "0"), 398 + 24 * i);
  });
  head.write(size.toString(8).padStart(11, "0"), 483);
  head.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of head) sum += byte;
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return head;
}
