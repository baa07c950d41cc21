/** Tars that fast-check makes up: entries in any order, twice, linked, deep, with long names, of deleted things. */
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import { tool } from "./images.ts";

export interface RandomEntry {
  kind: "file" | "directory" | "symlink" | "link" | "fifo" | "char" | "whiteout" | "opaque";
  path: readonly string[];
  /** Of links: the path of another entry, or text. */
  target: readonly string[];
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  size: number;
}

// Few names, so that entries meet; some that need more than the 100 bytes of a header.
const NAMES = ["a", "b", "c", "d e", "é", "n".repeat(110), "m".repeat(240)];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 });

export function entriesOf(...kinds: RandomEntry["kind"][]): fc.Arbitrary<RandomEntry[]> {
  const entry = fc.record({
    kind: fc.constantFrom(...kinds),
    path,
    target: path,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    // Beyond 2^21 an id does not fit into the octal digits of a header.
    uid: fc.oneof(fc.nat(70_000), fc.nat(3_000_000)),
    gid: fc.nat(70_000),
    mtime: fc.nat(2_000_000_000),
    size: fc.oneof(fc.nat(600), fc.nat(70_000)),
  });
  return fc.array(entry, { minLength: 1, maxLength: 14 });
}

/** What the entries leave behind them: the kind of each path. */
export type Model = Map<string, RandomEntry["kind"]>;

/**
 * The entries that all tools agree to take after those before: parents are directories, a hard link leads to a file that is
 * there, and nothing but a directory is in the place of a directory.
 *
 * @param below what the layers below have
 */
export function agreeable(entries: readonly RandomEntry[], below: Model = new Map()): RandomEntry[] {
  const there: Model = new Map();
  const taken: RandomEntry[] = [];
  for (const entry of entries) {
    const name = entry.path.join("/");
    const parents = entry.path.slice(0, -1).map((_, i) => entry.path.slice(0, i + 1).join("/"));
    const kindOf = (key: string) => there.get(key) ?? below.get(key);
    if (parents.some((key) => (kindOf(key) ?? "directory") !== "directory")) continue;
    const old = kindOf(name);
    const isDirectory = entry.kind === "directory";
    if (entry.kind === "whiteout" || entry.kind === "opaque") {
      // Where this layer has something of the name, or made a directory of it, tools differ about the order.
      if ([...there.keys()].some((key) => key === name || key.startsWith(`${name}/`))) continue;
      if (entry.kind === "opaque" && old !== "directory") continue;
      if (old === undefined || parents.some((key) => isHidden(taken, key))) continue;
      taken.push(entry);
      for (const key of parents) if (!there.has(key)) there.set(key, "directory");
      if (entry.kind === "whiteout") there.set(name, "whiteout");
      continue;
    }
    if (parents.some((key) => isHidden(taken, key)) || isHidden(taken, name)) continue;
    if (old !== undefined && (old === "directory") !== isDirectory) continue;
    if (entry.kind === "link") {
      if (there.get(entry.target.join("/")) !== "file" || old !== undefined) continue;
    }
    for (const key of parents) if (!there.has(key)) there.set(key, "directory");
    there.set(name, entry.kind === "link" ? "file" : entry.kind);
    taken.push(entry);
  }
  return taken;
}

function isHidden(entries: readonly RandomEntry[], key: string): boolean {
  return entries.some(({ kind, path: at }) => kind === "whiteout" && at.join("/") === key);
}

/** What is there after a layer, for the one above it. */
export function modelOf(entries: readonly RandomEntry[]): Model {
  const model: Model = new Map();
  for (const { kind, path: at } of entries) {
    for (let i = 1; i < at.length; i++) model.set(at.slice(0, i).join("/"), "directory");
    if (kind !== "whiteout" && kind !== "opaque") model.set(at.join("/"), kind === "link" ? "file" : kind);
  }
  return model;
}

/** Python's tarfile writes them: not one of the programs that are compared. */
const WRITER = `
import io, json, sys, tarfile
entries = json.load(open(sys.argv[1]))
form = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[sys.argv[3]]
types = {"file": tarfile.REGTYPE, "whiteout": tarfile.REGTYPE, "opaque": tarfile.REGTYPE, "directory": tarfile.DIRTYPE,
         "symlink": tarfile.SYMTYPE, "link": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "char": tarfile.CHRTYPE}
with tarfile.open(sys.argv[2], "w", format=form) as tar:
    for i, e in enumerate(entries):
        path = list(e["path"])
        if e["kind"] == "whiteout": path[-1] = ".wh." + path[-1]
        if e["kind"] == "opaque": path.append(".wh..wh..opq")
        info = tarfile.TarInfo("/".join(path))
        info.type = types[e["kind"]]
        info.mode, info.uid, info.gid, info.mtime = e["mode"], e["uid"], e["gid"], e["mtime"]
        if e["kind"] in ("symlink", "link"): info.linkname = "/".join(e["target"])
        if e["kind"] == "char": info.devmajor, info.devminor = 1, 3
        content = bytes((i * 7 + j) % 251 for j in range(e["size"])) if e["kind"] == "file" else b""
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
`;

export function writeRandomTar(entries: readonly RandomEntry[], file: string, format: "gnu" | "pax"): void {
  writeFileSync(`${file}.json`, JSON.stringify(entries));
  tool("python3", ["-c", WRITER, `${file}.json`, file, format]);
}
