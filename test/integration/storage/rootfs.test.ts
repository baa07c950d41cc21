/** Root filesystems from layers, really mounted. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountRootfs } from "../../../src/storage/mount.ts";
import {
  cleanupSteps,
  prepareRootfs,
  type RootfsRecord,
  type RootfsRequest,
  removeRootfs,
} from "../../../src/storage/rootfs.ts";
import { AT_FDCWD, MNT_DETACH, MS_PRIVATE, MS_RDONLY, MS_SHARED } from "../../../src/sys/constants.ts";
import { close, mknodat } from "../../../src/sys/file.ts";
import { mount, moveMount, umount2 } from "../../../src/sys/mount.ts";
import { removePath } from "../../../src/sys/remove.ts";
import { describeNeeds, isKernel, missing, needs } from "../../helpers/needs.ts";

const describe = describeNeeds({ root: true });
const canMount = missing({ root: true }) === undefined;

let scratch: string;
let storageRoot: string;
let attached: string[];

beforeEach(() => {
  if (!canMount) return;
  mkdirSync("/var/lib/tsrun", { recursive: true });
  scratch = mkdtempSync("/var/lib/tsrun/test-");
  chmodSync(scratch, 0o755);
  storageRoot = join(scratch, "store");
  attached = [];
});

afterEach(() => {
  if (!canMount) return;
  for (const merged of attached.splice(0)) umount2(merged, MNT_DETACH);
  removePath(scratch);
});

/** A layer with these files; a trailing "/" makes a directory. */
function layer(name: string, files: Record<string, string> = {}): string {
  const directory = join(scratch, "layers", name);
  mkdirSync(directory, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    const target = join(directory, path);
    mkdirSync(path.endsWith("/") ? target : dirname(target), { recursive: true });
    if (!path.endsWith("/")) writeFileSync(target, content);
  }
  return directory;
}

function prepare(request: Partial<RootfsRequest> & { layers: string[] }): RootfsRecord {
  return prepareRootfs({ id: "web", userns: false, hostname: "web-host", storageRoot, ...request });
}

/** Mounts and attaches at merged; afterEach takes it off. */
function attach(record: RootfsRecord): string {
  const fd = mountRootfs(record);
  moveMount(fd, "", AT_FDCWD, record.merged);
  close(fd);
  attached.push(record.merged);
  return record.merged;
}

function detach(merged: string): void {
  attached.splice(attached.indexOf(merged), 1);
  umount2(merged, MNT_DETACH);
}

/** Everything that a tree is: names, modes, owners, times, contents. */
function fingerprint(directory: string): string {
  const hash = createHash("sha256");
  const walk = (path: string): void => {
    const { mode, uid, gid, mtimeMs, size, rdev } = lstatSync(path);
    hash.update(JSON.stringify([path, mode, uid, gid, mtimeMs, size, rdev]));
    if (lstatSync(path).isDirectory()) for (const name of readdirSync(path).sort()) walk(join(path, name));
    else if (lstatSync(path).isFile()) hash.update(readFileSync(path));
  };
  walk(directory);
  return hash.digest("hex");
}

function errorOf(run: () => unknown): Error & { fix?: string; code?: string } {
  try {
    run();
  } catch (error) {
    return error as Error & { fix?: string };
  }
  throw new Error("nothing was thrown");
}

describe("layers", () => {
  test("one layer is the root, with what is written kept out of it", () => {
    const base = layer("base", { "bin/app": "one" });
    const before = fingerprint(base);
    const record = prepare({ layers: [base] });
    const merged = attach(record);
    expect(readFileSync(`${merged}/bin/app`, "utf8")).toBe("one");
    writeFileSync(`${merged}/bin/app`, "two");
    writeFileSync(`${merged}/new`, "new");
    expect(readFileSync(join(record.merged, "../diff/bin/app"), "utf8")).toBe("two");
    expect(fingerprint(base)).toBe(before);
  });

  test("of three layers the last one named is on top", () => {
    const layers = [
      layer("a", { f: "a", "d/a": "a", only: "a" }),
      layer("b", { f: "b", "d/b": "b" }),
      layer("c", { f: "c", "d/c": "c" }),
    ];
    const merged = attach(prepare({ layers }));
    expect(readFileSync(`${merged}/f`, "utf8")).toBe("c");
    expect(readFileSync(`${merged}/only`, "utf8")).toBe("a");
    expect(readdirSync(`${merged}/d`).sort()).toEqual(["a", "b", "c"]);
  });

  for (const { count, kernel } of [
    { count: 200, kernel: [5, 6] as const },
    { count: 499, kernel: [6, 8] as const },
    { count: 500, kernel: [6, 15] as const },
    { count: 998, kernel: [6, 15] as const },
  ]) {
    needs({ kernel })(`${count} layers mount`, () => {
      const layers = Array.from({ length: count }, (_, i) =>
        layer(`n${i}`, { [`f${i}`]: String(i), top: String(i), "d/x": String(i) }),
      );
      // The second one from below hides something of the lowest, and the top one of all that is below.
      mknodat(AT_FDCWD, join(layer("n1"), "f0"), 0o020000, 0);
      mknodat(AT_FDCWD, join(layer(`n${count - 1}`), "f2"), 0o020000, 0);
      const merged = attach(prepare({ layers }));
      expect(readFileSync(`${merged}/top`, "utf8")).toBe(String(count - 1));
      expect(readFileSync(`${merged}/d/x`, "utf8")).toBe(String(count - 1));
      expect(readFileSync(`${merged}/f3`, "utf8")).toBe("3");
      expect(readdirSync(merged).filter((name) => /^f\d+$/.test(name))).toHaveLength(count - 2);
      writeFileSync(`${merged}/f3`, "!", { flag: "a" });
      expect(readFileSync(`${merged}/f3`, "utf8")).toBe("3!");
      expect(readFileSync(join(layer("n3"), "f3"), "utf8")).toBe("3");
    });
  }

  test("a path too long for one option mounts", () => {
    const deep = layer(`${"x".repeat(200)}/${"y".repeat(200)}/${"z".repeat(200)}`, { f: "deep" });
    expect(readFileSync(`${attach(prepare({ layers: [deep] }))}/f`, "utf8")).toBe("deep");
  });

  test("colons, commas, backslashes, quotes and line breaks in a path mount", () => {
    const odd = ["ends in a space ", "a:b", "c,d", "e\\f", "g\\:h", "i j", "k\nl", "m'n\"o", "é"];
    const merged = attach(prepare({ layers: odd.map((name, i) => layer(name, { [`f${i}`]: name })) }));
    odd.forEach((name, i) => {
      expect(readFileSync(`${merged}/f${i}`, "utf8")).toBe(name);
    });
  });

  test("a symlink to a layer is followed once", () => {
    layer("real", { f: "real" });
    symlinkSync("real", join(scratch, "layers/link"));
    const record = prepare({ layers: [join(scratch, "layers/link")] });
    expect(readFileSync(join(record.merged, "../lower"), "utf8")).toContain("/layers/real");
    expect(readFileSync(`${attach(record)}/f`, "utf8")).toBe("real");
  });

  test("a deleted file becomes a whiteout, a changed one is copied up, the lower layer keeps both", () => {
    const base = layer("base", { gone: "gone", changed: "before", "dir/x": "x" });
    chownSync(join(base, "changed"), 12, 34);
    chmodSync(join(base, "changed"), 0o640);
    utimesSync(join(base, "changed"), 1000, 1000);
    const before = fingerprint(base);
    const record = prepare({ layers: [base] });
    const merged = attach(record);
    unlinkSync(`${merged}/gone`);
    writeFileSync(`${merged}/changed`, "!", { flag: "a" });
    unlinkSync(`${merged}/dir/x`);
    rmdirSync(`${merged}/dir`);
    const diff = join(record.merged, "../diff");
    expect(existsSync(`${merged}/gone`)).toBe(false);
    const whiteout = lstatSync(`${diff}/gone`);
    expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0]);
    expect(lstatSync(`${diff}/dir`).isCharacterDevice()).toBe(true);
    const copied = statSync(`${diff}/changed`);
    expect([copied.uid, copied.gid, copied.mode & 0o777]).toEqual([12, 34, 0o640]);
    expect(readFileSync(`${diff}/changed`, "utf8")).toBe("before!");
    expect(fingerprint(base)).toBe(before);
  });

  test("a whiteout in a layer hides what is below it", () => {
    const base = layer("base", { hidden: "x", shown: "y" });
    const top = layer("top");
    mknodat(AT_FDCWD, join(top, "hidden"), 0o020000, 0);
    expect(readdirSync(attach(prepare({ layers: [base, top] })))).not.toContain("hidden");
  });

  test("two containers on the same layers do not see each other", () => {
    const base = layer("base", { f: "base" });
    const one = attach(prepare({ id: "one", hostname: "h1", layers: [base] }));
    const two = attach(prepare({ id: "two", hostname: "h2", layers: [base] }));
    writeFileSync(`${one}/f`, "one");
    writeFileSync(`${one}/extra`, "one");
    expect(readFileSync(`${two}/f`, "utf8")).toBe("base");
    expect(existsSync(`${two}/extra`)).toBe(false);
    expect(readFileSync(`${one}/etc/hostname`, "utf8")).toBe("h1\n");
    expect(readFileSync(`${two}/etc/hostname`, "utf8")).toBe("h2\n");
  });

  test("layers of the store are found by chain ID and named by their links", () => {
    const hex = "ab".repeat(32);
    const link = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const cache = join(storageRoot, "overlay2/cache1");
    mkdirSync(join(storageRoot, "overlay2/l"), { recursive: true });
    mkdirSync(join(cache, "diff"), { recursive: true });
    mkdirSync(join(storageRoot, "image/overlay2/layerdb/sha256", hex), { recursive: true });
    writeFileSync(join(storageRoot, "image/overlay2/layerdb/sha256", hex, "cache-id"), "cache1");
    writeFileSync(join(cache, "diff/f"), "store");
    writeFileSync(join(cache, "link"), link);
    symlinkSync("../cache1/diff", join(storageRoot, "overlay2/l", link));

    const record = prepare({ layers: [layer("base", { g: "base" }), `sha256:${hex}`] });
    expect(readFileSync(join(record.merged, "../lower"), "utf8")).toMatch(
      new RegExp(`^l/[A-Z2-7]{26}:l/${link}:${scratch}/layers/base$`),
    );
    const mounts = join(storageRoot, "image/overlay2/layerdb/mounts/web");
    expect(readFileSync(join(mounts, "parent"), "utf8")).toBe(`sha256:${hex}`);
    expect(existsSync(join(cache, "committed"))).toBe(true);
    const merged = attach(record);
    expect(readFileSync(`${merged}/f`, "utf8") + readFileSync(`${merged}/g`, "utf8")).toBe("storebase");
  });

  test("a layer of the store whose link is lost is found by its directory", () => {
    const hex = "cd".repeat(32);
    mkdirSync(join(storageRoot, "overlay2/cache2/diff"), { recursive: true });
    mkdirSync(join(storageRoot, "image/overlay2/layerdb/sha256", hex), { recursive: true });
    writeFileSync(join(storageRoot, "image/overlay2/layerdb/sha256", hex, "cache-id"), "cache2\n");
    writeFileSync(join(storageRoot, "overlay2/cache2/link"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    writeFileSync(join(storageRoot, "overlay2/cache2/diff/f"), "found");
    expect(readFileSync(`${attach(prepare({ layers: [`sha256:${hex}`] }))}/f`, "utf8")).toBe("found");
  });
});

describe("what lies on disk", () => {
  test("the directories, links and records have Docker's names and modes", () => {
    const record = prepare({ layers: [layer("base"), layer("top")] });
    const overlay = join(storageRoot, "overlay2");
    const mode = (path: string) => (statSync(join(overlay, path)).mode & 0o7777).toString(8);
    const id = record.mountId;
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(overlay).sort()).toEqual([id, `${id}-init`, "l"].sort());
    expect(readdirSync(join(overlay, id)).sort()).toEqual(["diff", "link", "lower", "merged", "work"]);
    expect(readdirSync(join(overlay, `${id}-init`)).sort()).toEqual(["committed", "diff", "link", "lower"]);
    expect([mode(id), mode(`${id}/diff`), mode(`${id}/work`), mode(`${id}/merged`)]).toEqual([
      "710",
      "755",
      "700",
      "700",
    ]);
    expect(mode(`${id}/link`)).toBe("644");
    const link = readFileSync(join(overlay, id, "link"), "utf8");
    const initLink = readFileSync(join(overlay, `${id}-init`, "link"), "utf8");
    expect(readlinkSync(join(overlay, "l", link))).toBe(`../${id}/diff`);
    expect(readlinkSync(join(overlay, "l", initLink))).toBe(`../${id}-init/diff`);
    expect(readFileSync(join(overlay, id, "lower"), "utf8")).toBe(
      `l/${initLink}:${scratch}/layers/top:${scratch}/layers/base`,
    );
    const mounts = join(storageRoot, "image/overlay2/layerdb/mounts/web");
    expect(readFileSync(join(mounts, "mount-id"), "utf8")).toBe(id);
    expect(readFileSync(join(mounts, "init-id"), "utf8")).toBe(`${id}-init`);
    expect(existsSync(join(mounts, "parent"))).toBe(false);
    expect(JSON.parse(JSON.stringify(record))).toEqual(record);
  });

  test("a strict umask does not take the container's rights away", () => {
    const old = process.umask(0o077);
    try {
      const merged = attach(prepare({ layers: [layer("base")] }));
      expect(statSync(merged).mode & 0o777).toBe(0o755);
      expect(statSync(`${merged}/etc/hosts`).mode & 0o777).toBe(0o644);
    } finally {
      process.umask(old);
    }
  });

  test("in a user namespace the mapped root owns what the container may write", () => {
    const owner = { uid: 100000, gid: 100001 };
    const record = prepare({ layers: [layer("base")], owner });
    const of = (path: string) => {
      const { uid, gid } = statSync(join(record.merged, "..", path));
      return [uid, gid];
    };
    for (const path of ["diff", "work", "merged"]) expect(of(path), path).toEqual([100000, 100001]);
    expect(of(".")).toEqual([0, 100001]);
    const merged = attach(record);
    expect(statSync(`${merged}/etc/hostname`).uid).toBe(100000);
  });

  test("removal leaves nothing, and can be done again", () => {
    const base = layer("base", { f: "x" });
    const before = fingerprint(base);
    const record = prepare({ layers: [base] });
    const merged = attach(record);
    mkdirSync(`${merged}/a/b/c`, { recursive: true });
    unlinkSync(`${merged}/f`);
    detach(merged);
    removeRootfs(record);
    expect(readdirSync(join(storageRoot, "overlay2"))).toEqual(["l"]);
    expect(readdirSync(join(storageRoot, "overlay2/l"))).toEqual([]);
    expect(readdirSync(join(storageRoot, "image/overlay2/layerdb/mounts"))).toEqual([]);
    removeRootfs(record);
    removeRootfs({ id: "never-made", storageRoot });
    expect(fingerprint(base)).toBe(before);
  });

  test("the cleanup steps remove the same", () => {
    const record = prepare({ layers: [layer("base")] });
    for (const step of cleanupSteps(record)) {
      if (step.op === "u") unlinkSync(step.path);
      else if (step.op !== "s") removePath(step.path);
    }
    expect(readdirSync(join(storageRoot, "overlay2"))).toEqual(["l"]);
    expect(readdirSync(join(storageRoot, "overlay2/l"))).toEqual([]);
    expect(readdirSync(join(storageRoot, "image/overlay2/layerdb/mounts"))).toEqual([]);
  });

  test("removal never goes through a mount that somebody made below", () => {
    const precious = layer("precious", { keep: "me" });
    const record = prepare({ layers: [layer("base")] });
    const place = join(record.merged, "../diff/mnt");
    mkdirSync(place);
    mount(precious, place, null, 4096);
    try {
      expect(errorOf(() => removeRootfs(record)).message).toMatch(/remove .*diff\/mnt/);
      expect(readFileSync(join(precious, "keep"), "utf8")).toBe("me");
    } finally {
      umount2(place, MNT_DETACH);
    }
    removeRootfs(record);
    expect(readdirSync(join(storageRoot, "overlay2"))).toEqual(["l"]);
  });

  test("a root that is still attached at merged is unmounted, not emptied", () => {
    const base = layer("base", { f: "x" });
    const record = prepare({ layers: [base] });
    attach(record);
    removeRootfs(record);
    attached = [];
    expect(readdirSync(base)).toEqual(["f"]);
    expect(existsSync(record.merged)).toBe(false);
  });
});

describe("a tsrun that was killed", () => {
  test("leaves a record without a mount id that can be removed", () => {
    prepare({ layers: [layer("base")] });
    removeRootfs({ id: "web", storageRoot });
    mkdirSync(join(storageRoot, "image/overlay2/layerdb/mounts/web"));
    writeFileSync(join(storageRoot, "image/overlay2/layerdb/mounts/web/mount-id"), "");
    removeRootfs({ id: "web", storageRoot });
    expect(readdirSync(join(storageRoot, "image/overlay2/layerdb/mounts"))).toEqual([]);
  });

  test("does not keep the next container of that id from starting", () => {
    const base = layer("base", { f: "x" });
    const first = prepare({ layers: [base], stateDir: "/run/gone" });
    const second = prepare({ layers: [base], stateDir: "/run/gone" });
    expect(existsSync(first.merged)).toBe(false);
    expect(readFileSync(`${attach(second)}/f`, "utf8")).toBe("x");
  });

  test("a damaged mount-id never leads out of the store", () => {
    prepare({ layers: [layer("base")] });
    const outside = layer("outside", { keep: "me" });
    for (const bad of ["../../layers/outside", "..", ".", "", "/etc", "a/b", "l/x", "l", "rw-", "rw-x-init"]) {
      writeFileSync(join(storageRoot, "image/overlay2/layerdb/mounts/web/mount-id"), bad);
      removeRootfs({ id: "web", storageRoot });
      mkdirSync(join(storageRoot, "image/overlay2/layerdb/mounts/web"));
    }
    expect(readdirSync(outside)).toEqual(["keep"]);
    expect(existsSync(join(storageRoot, "overlay2/l"))).toBe(true);
  });
});

describe("the init layer", () => {
  test("has the container's own files, apart from what the container writes", () => {
    const record = prepare({ layers: [layer("base")] });
    const merged = attach(record);
    expect(readFileSync(`${merged}/etc/hostname`, "utf8")).toBe("web-host\n");
    expect(readFileSync(`${merged}/etc/hosts`, "utf8")).toMatch(/^127\.0\.0\.1\tlocalhost$/m);
    expect(readFileSync(`${merged}/etc/hosts`, "utf8")).toMatch(/^127\.0\.1\.1\tweb-host$/m);
    const host = existsSync("/etc/resolv.conf") ? readFileSync("/etc/resolv.conf", "utf8") : "";
    expect(readFileSync(`${merged}/etc/resolv.conf`, "utf8")).toBe(host);
    expect(readlinkSync(`${merged}/etc/mtab`)).toBe("/proc/mounts");
    expect(statSync(`${merged}/dev/console`).size).toBe(0);
    for (const name of ["dev/pts", "dev/shm", "proc", "sys"]) {
      expect(statSync(`${merged}/${name}`).isDirectory(), name).toBe(true);
    }
    expect(readdirSync(join(record.merged, "../diff"))).toEqual([]);
  });

  test("hides the image's own files and keeps its other ones", () => {
    const base = layer("base", { "etc/hostname": "builder\n", "etc/passwd": "root" });
    symlinkSync("../run/resolv.conf", join(base, "etc/resolv.conf"));
    const merged = attach(prepare({ layers: [base] }));
    expect(readFileSync(`${merged}/etc/hostname`, "utf8")).toBe("web-host\n");
    expect(readFileSync(`${merged}/etc/passwd`, "utf8")).toBe("root");
    expect(lstatSync(`${merged}/etc/resolv.conf`).isFile()).toBe(true);
  });

  test("shows the mode and owner of the topmost layer's directory", () => {
    const base = layer("base", { "etc/a": "a", "proc/": "" });
    const top = layer("top", { "etc/b": "b" });
    chmodSync(join(base, "etc"), 0o700);
    chmodSync(join(top, "etc"), 0o2751);
    chownSync(join(top, "etc"), 7, 8);
    chmodSync(join(top, "etc"), 0o2751);
    chmodSync(join(base, "proc"), 0o555);
    const merged = attach(prepare({ layers: [base, top] }));
    const { mode, uid, gid } = statSync(`${merged}/etc`);
    expect([mode & 0o7777, uid, gid]).toEqual([0o2751, 7, 8]);
    expect(statSync(`${merged}/proc`).mode & 0o7777).toBe(0o555);
  });

  test("leaves an /etc alone that is a symlink or a file", () => {
    const base = layer("base", { "usr/etc/passwd": "root", dev: "a file" });
    symlinkSync("usr/etc", join(base, "etc"));
    const merged = attach(prepare({ layers: [base] }));
    expect(readlinkSync(`${merged}/etc`)).toBe("usr/etc");
    expect(readdirSync(`${merged}/usr/etc`)).toEqual(["passwd"]);
    expect(readFileSync(`${merged}/dev`, "utf8")).toBe("a file");
  });

  test("a link to an absolute path in a layer leads nowhere on the host", () => {
    const outside = layer("outside");
    const base = layer("base");
    symlinkSync(outside, join(base, "etc"));
    symlinkSync(outside, join(base, "dev"));
    symlinkSync(outside, join(base, "proc"));
    prepare({ layers: [base] });
    expect(readdirSync(outside)).toEqual([]);
  });

  test("a directory that a layer deleted comes back without its old content", () => {
    const base = layer("base", { "etc/old": "x" });
    const top = layer("top");
    mknodat(AT_FDCWD, join(top, "etc"), 0o020000, 0);
    const merged = attach(prepare({ layers: [base, top] }));
    expect(readdirSync(`${merged}/etc`).sort()).toEqual(["hostname", "hosts", "mtab", "resolv.conf"]);
  });

  test("without a hostname it has the host's", () => {
    const { hostname: _, ...request } = { id: "nameless", userns: false, storageRoot, hostname: "" };
    const merged = attach(prepareRootfs({ ...request, layers: [layer("base")] }));
    expect(readFileSync(`${merged}/etc/hostname`, "utf8")).toBe(readFileSync("/proc/sys/kernel/hostname", "utf8"));
  });
});

describe("a named read-write layer", () => {
  test("keeps what was written when its container is gone", () => {
    const base = layer("base", { f: "base" });
    const first = prepare({ layers: [base], rwLayer: "data" });
    expect([first.named, first.mountId]).toEqual([true, "rw-data"]);
    const merged = attach(first);
    writeFileSync(`${merged}/written`, "yes");
    unlinkSync(`${merged}/f`);
    writeFileSync(`${merged}/etc/own`, "kept");
    detach(merged);
    removeRootfs(first);
    expect(readdirSync(join(storageRoot, "overlay2")).sort()).toEqual(["l", "rw-data"]);

    const second = prepare({ id: "other", hostname: "other-host", layers: [base], rwLayer: "data" });
    const again = attach(second);
    expect(readFileSync(`${again}/written`, "utf8")).toBe("yes");
    expect(existsSync(`${again}/f`)).toBe(false);
    expect(readFileSync(`${again}/etc/hostname`, "utf8")).toBe("other-host\n");
    expect(readFileSync(`${again}/etc/own`, "utf8")).toBe("kept");
    expect(readdirSync(join(storageRoot, "overlay2/l"))).toHaveLength(2);
  });

  test("is refused while another container has it, and says which", () => {
    const stateDir = join(scratch, "state");
    mkdirSync(stateDir);
    const first = prepare({ id: "first", layers: [layer("base")], rwLayer: "data", stateDir });
    const error = errorOf(() => prepare({ id: "second", layers: [layer("base")], rwLayer: "data" }));
    expect(error.message).toBe("read-write layer data is in use by container first");
    expect(existsSync(join(storageRoot, "image/overlay2/layerdb/mounts/second"))).toBe(false);
    removeRootfs({ id: "second", storageRoot });
    expect(existsSync(first.merged)).toBe(true);

    removeRootfs(first);
    expect(prepare({ id: "second", layers: [layer("base")], rwLayer: "data" }).mountId).toBe("rw-data");
  });

  test("asks the caller about a container that left no state directory", () => {
    prepare({ id: "first", layers: [layer("base")], rwLayer: "data" });
    const asked: string[] = [];
    const inUse = (container: string) => asked.push(container) > 0;
    expect(errorOf(() => prepare({ id: "second", layers: [layer("base")], rwLayer: "data", inUse })).message).toMatch(
      /in use by container first/,
    );
    expect(asked).toEqual(["first"]);
  });

  test("is free again when its container died without a trace, and stays with the next one", () => {
    const base = layer("base");
    const dead = prepare({ id: "dead", layers: [base], rwLayer: "data", stateDir: join(scratch, "gone") });
    const record = prepare({ id: "next", layers: [base], rwLayer: "data" });
    removeRootfs(dead); // somebody deletes the dead one late
    expect(existsSync(join(storageRoot, "overlay2/rw-data-init/diff/etc/hostname"))).toBe(true);
    expect(readFileSync(`${attach(record)}/etc/hostname`, "utf8")).toBe("web-host\n");
  });

  test("keeps the mode that its container gave to /", () => {
    const first = prepare({ layers: [layer("base")], rwLayer: "data" });
    const merged = attach(first);
    chmodSync(merged, 0o711);
    detach(merged);
    removeRootfs(first);
    expect(statSync(attach(prepare({ layers: [layer("base")], rwLayer: "data" }))).mode & 0o777).toBe(0o711);
  });

  test("that was left half made is completed", () => {
    const base = layer("base", { f: "x" });
    removeRootfs(prepare({ layers: [base], rwLayer: "data" }));
    const home = join(storageRoot, "overlay2/rw-data");
    const link = readFileSync(join(home, "link"), "utf8");
    unlinkSync(join(home, "link"));
    unlinkSync(join(storageRoot, "overlay2/l", link));
    removePath(join(home, "work"));
    removePath(join(home, "merged"));
    writeFileSync(join(home, "lower"), "");
    expect(readFileSync(`${attach(prepare({ layers: [base], rwLayer: "data" }))}/f`, "utf8")).toBe("x");
  });

  test("a bad name is refused before anything is made", () => {
    for (const rwLayer of ["../x", "", "a/b", "x-init", "."]) {
      expect(errorOf(() => prepare({ layers: [layer("base")], rwLayer })).message).toMatch(/^org\.tsrun\.rw-layer: /);
    }
    expect(existsSync(storageRoot)).toBe(false);
  });
});

describe("the mount", () => {
  const mounts = () =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line !== "").length;

  test("is nowhere in the host's tree, and gone with its descriptor", () => {
    const record = prepare({ layers: [layer("base", { f: "x" })] });
    const before = mounts();
    const fd = mountRootfs(record);
    expect(mounts()).toBe(before);
    expect(readdirSync(record.merged)).toEqual([]);
    expect(readFileSync(`/proc/self/fd/${fd}/f`, "utf8")).toBe("x");
    close(fd);
    removeRootfs(record);
  });

  test("is private even where the store lies on a shared mount", () => {
    for (const [name, propagation] of [
      ["shared", MS_SHARED],
      ["private", MS_PRIVATE],
    ] as const) {
      mkdirSync(join(scratch, name));
      mount("tmpfs", join(scratch, name), "tmpfs", 0);
      attached.unshift(join(scratch, name));
      mount(null, join(scratch, name), null, propagation);
    }
    const shared = join(scratch, "shared/store");
    const record = prepareRootfs({ id: "web", userns: false, layers: [layer("base")], storageRoot: shared });
    const before = mounts();
    const fd = mountRootfs(record);
    expect(mounts()).toBe(before);
    const place = join(scratch, "private/place");
    mkdirSync(place);
    moveMount(fd, "", AT_FDCWD, place);
    close(fd);
    attached.unshift(place);
    const line = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((text) => text.includes(` ${place} `));
    expect(line).toMatch(/overlay/);
    expect(line).not.toMatch(/shared:/);
  });

  test("leaves no descriptor open", () => {
    const open = () => readdirSync("/proc/self/fd").length;
    const record = prepare({ layers: [layer("a"), layer("b"), layer("c")] });
    close(mountRootfs(record));
    removeRootfs(record);
    const before = open();
    const again = prepare({ layers: [layer("a"), layer("b"), layer("c")] });
    close(mountRootfs(again));
    const broken = prepare({ id: "broken", layers: [layer("a"), "/proc"] });
    expect(errorOf(() => mountRootfs(broken)).code).toBe("EINVAL");
    removeRootfs(again);
    expect(open()).toBe(before);
  });

  test("is volatile when that was asked for, never for a named layer", () => {
    const options = (record: RootfsRecord) => {
      const merged = attach(record);
      return readFileSync("/proc/self/mountinfo", "utf8")
        .split("\n")
        .find((text) => text.includes(` ${merged} `));
    };
    const base = layer("base");
    expect(options(prepare({ id: "a", layers: [base], volatile: true }))).toMatch(/volatile/);
    expect(options(prepare({ id: "b", layers: [base] }))).not.toMatch(/volatile/);
    expect(options(prepare({ id: "c", layers: [base], volatile: true, rwLayer: "data" }))).not.toMatch(/volatile/);
    expect(options(prepare({ id: "d", layers: [base] }))).toMatch(/ - overlay overlay /);
  });

  test("is unmounted by removal when a tsrun was killed while it was at merged", () => {
    const record = prepare({ layers: [layer("base", { f: "x" })] });
    mount("tmpfs", record.merged, "tmpfs", 0);
    writeFileSync(join(record.merged, "f"), "");
    removeRootfs(record);
    expect(existsSync(record.merged)).toBe(false);
  });
});

describe("what is refused", () => {
  test("every layer that is missing or no directory, by its number, at once", () => {
    writeFileSync(join(scratch, "file"), "");
    const layers = [
      layer("base"),
      join(scratch, "nope"),
      join(scratch, "file"),
      "relative",
      `sha256:${"0".repeat(64)}`,
      "sha256:xyz",
    ];
    expect(errorOf(() => prepare({ layers })).message.split("; ")).toEqual([
      `org.tsrun.layers[1]: ${scratch}/nope does not exist`,
      `org.tsrun.layers[2]: ${scratch}/file is not a directory`,
      'org.tsrun.layers[3]: "relative" is neither an absolute path nor sha256:<chain ID>',
      `org.tsrun.layers[4]: the store at ${storageRoot} has no layer sha256:${"0".repeat(64)}`,
      'org.tsrun.layers[5]: "sha256:xyz" is not sha256: and 64 hex digits',
    ]);
    expect(existsSync(storageRoot)).toBe(false);
  });

  test("no layers, and too many", () => {
    expect(errorOf(() => prepare({ layers: [] })).message).toMatch(/names no layer/);
    const many = Array.from({ length: 999 }, (_, i) => `/l${i}`);
    expect(errorOf(() => prepare({ layers: many })).message).toMatch(/names 999 layers; at most 998 can be mounted/);
  });

  test("a directory that is named twice", () => {
    const base = layer("base");
    symlinkSync("base", join(scratch, "layers/alias"));
    expect(errorOf(() => prepare({ layers: [base, join(scratch, "layers/alias")] })).message).toMatch(
      /layers\[1\]: .*alias is the same directory as org\.tsrun\.layers\[0\]/,
    );
  });

  test("a layer inside another one, naming the two", () => {
    const outer = layer("outer", { "inner/f": "x" });
    const error = errorOf(() => mountRootfs(prepare({ layers: [outer, join(outer, "inner")] })));
    expect([error.code, error.message]).toEqual(["ELOOP", expect.stringMatching(/^mount overlay .*merged: ELOOP/)]);
    expect((error.cause as Error).message).toBe("the kernel says: overlapping lowerdir path");
    expect(error.fix).toBe(`take ${outer} or ${outer}/inner out of the layers: the first contains the second`);
  });

  test("a layer that contains the store, naming the two", () => {
    const error = errorOf(() => mountRootfs(prepare({ layers: [scratch] })));
    expect(error.fix).toMatch(new RegExp(`^take ${scratch} or ${storageRoot}/overlay2/.*: the first contains`));
  });

  test("a store on an overlay, with the kernel's own reason", () => {
    const outer = attach(prepare({ layers: [layer("base")] }));
    const record = prepareRootfs({ id: "in", userns: false, layers: [layer("base2")], storageRoot: `${outer}/store` });
    const error = errorOf(() => mountRootfs(record));
    expect(error.code).toBe("EINVAL");
    expect((error.cause as Error).message).toMatch(/^the kernel says: .*not supported as upperdir/);
    expect(error.fix).toMatch(/^keep the store on a filesystem that can hold an upper layer/);
    expect(error.message).not.toMatch(/\/proc\/self\/fd/);
  });

  test("a layer on a filesystem that overlay cannot use", () => {
    const error = errorOf(() => mountRootfs(prepare({ layers: ["/proc"] })));
    expect(error.code).toBe("EINVAL");
    expect((error.cause as Error).message).toMatch(/^the kernel says: ./);
  });

  test("more layers than the kernel takes in one page, before anything is mounted", () => {
    const layers = Array.from({ length: 300 }, (_, i) => layer(`n${i}`));
    const record = prepare({ layers });
    if (isKernel([6, 8])) {
      close(mountRootfs(record));
      return;
    }
    const error = errorOf(() => mountRootfs(record));
    expect([error.code, error.fix]).toEqual(["E2BIG", expect.stringMatching(/Linux 6\.8/)]);
  });

  test("a store that cannot be written, naming the operation, the path and the errno", () => {
    const place = join(scratch, "readonly");
    mkdirSync(place);
    mount("tmpfs", place, "tmpfs", MS_RDONLY);
    attached.push(place);
    const error = errorOf(() => prepare({ layers: [layer("base")], storageRoot: join(place, "store") }));
    expect(error.message).toBe(`mkdir ${place}/store: EROFS (Read-only file system)`);
    expect(error.fix).toMatch(/can be written/);
  });

  test("a store in whose place a file is", () => {
    writeFileSync(join(scratch, "file"), "");
    const error = errorOf(() => prepare({ layers: [layer("base")], storageRoot: join(scratch, "file") }));
    expect([error.code, error.name]).toEqual(["ENOTDIR", "SyscallError"]);
  });

  test("an id that is a path", () => {
    for (const id of ["..", "a/b", "", "."]) {
      expect(() => prepare({ id, layers: [layer("base")] })).toThrow(/cannot name a directory/);
      expect(() => removeRootfs({ id, storageRoot })).toThrow(/cannot name a directory/);
    }
  });

  test("an id that a container with another state directory has in the same store", () => {
    const stateDir = join(scratch, "state-a");
    mkdirSync(stateDir);
    const first = prepare({ layers: [layer("base")], stateDir });
    const error = errorOf(() => prepare({ layers: [layer("base")], stateDir: join(scratch, "state-b") }));
    expect(error.message).toMatch(/has a container web already, whose state is .*state-a/);
    expect(existsSync(first.merged)).toBe(true);

    // Nor does deleting the other one, which may have no layers at all, take them away.
    mkdirSync(join(scratch, "state-b"));
    removeRootfs({ id: "web", storageRoot, stateDir: join(scratch, "state-b") });
    expect(existsSync(first.merged)).toBe(true);
    symlinkSync("state-a", join(scratch, "state-alias"));
    removeRootfs({ id: "web", storageRoot, stateDir: join(scratch, "state-alias") });
    expect(existsSync(first.merged)).toBe(false);
  });
});
