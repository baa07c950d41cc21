import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { components, shown } from "../../../src/storage/tar/bytes.ts";
import { checkSparse, readPax, type TarEntry } from "../../../src/storage/tar/header.ts";
import { TarReader } from "../../../src/storage/tar/reader.ts";
import { concat, formatHeader } from "../../../src/storage/tar/writer.ts";
import { makeTar, type TestEntry, testEntry } from "../../helpers/tar.ts";

interface Read {
  entries: (TarEntry & { content: string })[];
  skeleton: Uint8Array;
}

/** Reads a tar in pieces of this many bytes. */
function readTar(tar: Uint8Array, piece = tar.length || 1): Read {
  const entries: Read["entries"] = [];
  const skeleton: Uint8Array[] = [];
  const reader = new TarReader({
    entry: (entry) => entries.push({ ...entry, content: "" }),
    data: (bytes) => {
      const last = entries.at(-1) as Read["entries"][number];
      last.content += Buffer.from(bytes).toString("latin1");
    },
    skeleton: (bytes) => skeleton.push(bytes.slice()),
  });
  for (let at = 0; at < tar.length; at += piece) reader.push(tar.subarray(at, at + piece));
  reader.finish();
  return { entries, skeleton: concat(skeleton) };
}

/** Puts a tar together again from its skeleton and the content of its files. */
function assemble({ entries, skeleton }: Read, piece: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let next = 0;
  const reader = new TarReader(
    {
      entry: () => {},
      skeleton: (bytes) => parts.push(bytes.slice()),
      end: () => {
        while (entries[next]?.type !== "file") next++;
        parts.push(Buffer.from(entries[next++]?.content ?? "", "latin1"));
      },
    },
    { isSkeleton: true },
  );
  for (let at = 0; at < skeleton.length; at += piece) reader.push(skeleton.subarray(at, at + piece));
  reader.finish();
  return concat(parts);
}

const scratch: string[] = [];
afterAll(() => {
  for (const path of scratch) rmSync(path, { recursive: true });
});

/** What GNU tar makes of a directory that `fill` filled. */
function gnuTar(fill: (dir: string) => void, ...flags: string[]): Uint8Array {
  const dir = mkdtempSync(join(tmpdir(), "tsrun-tar-"));
  scratch.push(dir);
  fill(dir);
  const result = spawnSync("tar", ["-C", dir, ...flags, "-c", "."], { maxBuffer: 1 << 26 });
  expect(result.stderr.toString()).toBe("");
  return new Uint8Array(result.stdout);
}

const names = fc
  .array(fc.stringMatching(/^[a-z.é\u{1f600} ]{1,60}$/u), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join("/"));

describe("storage/tar", () => {
  test("what is written is read again, whatever the pieces are", () => {
    const entry = fc.record({
      name: names.map((name) => Buffer.from(name, "utf8").toString("latin1")),
      content: fc.string({ maxLength: 1500 }).map((text) => Buffer.from(text, "utf8").toString("latin1")),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 0xfffffffe }),
      gid: fc.integer({ min: 0, max: 0xfffffffe }),
      mtime: fc.record({ seconds: fc.integer({ min: -1e10, max: 1e11 }), nanoseconds: fc.constant(0) }),
      xattrs: fc.uniqueArray(fc.tuple(fc.stringMatching(/^user\.[a-z]{1,9}$/), fc.uint8Array({ maxLength: 90 })), {
        selector: ([name]) => name,
      }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 4 }), fc.integer({ min: 1, max: 2000 }), (entries, piece) => {
        const tar = makeTar(entries as TestEntry[]);
        const read = readTar(tar, piece);
        expect(
          read.entries.map(({ name, content, mode, uid, gid, mtime }) => ({ name, content, mode, uid, gid, mtime })),
        ).toEqual(entries.map(({ xattrs: _, ...rest }) => rest));
        read.entries.forEach(({ xattrs }, i) => {
          const sorted = [...(entries[i]?.xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
          expect(xattrs.map(([name, value]) => [name, [...value]])).toEqual(
            sorted.map(([name, value]) => [name, [...value]]),
          );
        });
        expect(assemble(read, piece)).toEqual(tar);
      }),
      { numRuns: 60 },
    );
  });

  test("any bytes are read to an end or refused with a message of ours", () => {
    const tar = makeTar([{ name: "a", content: "x" }, { name: "d/" }]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(tar.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(tar.length),
        (changes, cut) => {
          const damaged = tar.slice(0, tar.length - cut);
          for (const [at, value] of changes) if (at < damaged.length) damaged[at] = value;
          try {
            readTar(damaged, 100);
          } catch (error) {
            expect((error as Error).name).toBe("TarError");
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  for (const format of ["gnu", "pax", "ustar", "v7"]) {
    test(`an archive of GNU tar in format ${format} comes out again byte for byte`, () => {
      const long = "n".repeat(format === "v7" ? 60 : 90);
      const tar = gnuTar((dir) => {
        mkdirSync(join(dir, long));
        writeFileSync(join(dir, long, "file"), "content".repeat(300));
        symlinkSync("file", join(dir, long, "link"));
      }, `--format=${format}`);
      const read = readTar(tar, 700);
      expect(read.entries.map(({ name }) => name).sort()).toEqual([
        "./",
        `./${long}/`,
        `./${long}/file`,
        `./${long}/link`,
      ]);
      expect(assemble(read, 513)).toEqual(tar);
    });
  }

  test("names and link targets of more than 100 bytes are read, as GNU and as pax write them", () => {
    const deep = ["a".repeat(120), "b".repeat(200)].join("/");
    for (const format of ["gnu", "pax"]) {
      const tar = gnuTar((dir) => {
        mkdirSync(join(dir, deep), { recursive: true });
        symlinkSync("t".repeat(300), join(dir, deep, "link"));
      }, `--format=${format}`);
      const link = readTar(tar).entries.find(({ type }) => type === "symlink");
      expect(link?.name).toBe(`./${deep}/link`);
      expect(link?.linkName).toBe("t".repeat(300));
    }
  });

  for (const format of ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "pax --sparse-version=1.0"]) {
    test(`a sparse file of GNU tar (${format}) keeps its length and its pieces`, () => {
      const tar = gnuTar(
        (dir) => {
          writeFileSync(join(dir, "sparse"), "head");
          truncateSync(join(dir, "sparse"), 9_000_000);
        },
        "--sparse",
        ...`--format=${format}`.split(" "),
      );
      const read = readTar(tar, 300);
      const file = read.entries.find(({ type }) => type === "file");
      expect(file?.name).toMatch(/sparse$/);
      expect(file?.sparse?.size).toBe(9_000_000);
      expect(file?.content.slice(0, 4)).toBe("head");
      expect(assemble(read, 1000)).toEqual(tar);
    });
  }

  test("a sparse map that goes backwards, beyond the end, or adds up to something else is refused", () => {
    const piece = (offset: number, length: number) => ({ offset, length });
    expect(() => checkSparse({ size: 10, pieces: [piece(0, 4), piece(2, 4)] }, 8, 0)).toThrow("damaged map");
    expect(() => checkSparse({ size: 10, pieces: [piece(8, 4)] }, 4, 0)).toThrow("damaged map");
    expect(() => checkSparse({ size: 10, pieces: [piece(0, 4)] }, 5, 0)).toThrow("damaged map");
    expect(() => checkSparse({ size: 10, pieces: [piece(0, 4), piece(6, 4)] }, 8, 0)).not.toThrow();
  });

  test("an archive that ends within a file or a header says where", () => {
    const tar = makeTar([{ name: "a", content: "x".repeat(2000) }]);
    expect(() => readTar(tar.subarray(0, 1500))).toThrow(
      "the archive ends after 1500 bytes, in the middle of the content of a file",
    );
    expect(() => readTar(tar.subarray(0, 100))).toThrow("in the middle of a header");
  });

  test("a checksum that is wrong is refused, and the byte is named", () => {
    const tar = makeTar([{ name: "a" }, { name: "b" }]);
    tar[512 + 3] = 65;
    expect(() => readTar(tar)).toThrow("the header at byte 512 has a wrong checksum");
  });

  test("an extended header that says it is longer than it is, or endless, is refused", () => {
    expect(() => readPax(Buffer.from("99 path=x\n"), 0)).toThrow("damaged");
    expect(() => readPax(Buffer.from("0 path=x\n"), 0)).toThrow("damaged");
    expect(() => readPax(Buffer.from("-1 path=x\n"), 0)).toThrow("damaged");
    const head = formatHeader(testEntry({ name: "x" }));
    head.set(Buffer.from("77777777777\0"), 124);
    head[156] = 0x78;
    head.set(Buffer.from("        "), 148);
    let sum = 0;
    for (const byte of head) sum += byte;
    head.set(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
    expect(() => readTar(head)).toThrow("more than 1048576");
  });

  test("a name is cut into components, and one that leads out is none", () => {
    expect(components("./a//b/.")).toEqual(["a", "b"]);
    expect(components("/etc/passwd")).toEqual(["etc", "passwd"]);
    expect(components("a/../../b")).toBeUndefined();
    expect(components(".")).toEqual([]);
  });

  test("a name that would drive a terminal is shown with its control characters escaped", () => {
    expect(shown("a\u001b[2Jb\n")).toBe("a\\u001b[2Jb\\u000a");
  });
});
