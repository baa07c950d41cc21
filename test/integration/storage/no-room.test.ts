/**
 * A disk that is full, broken, or cannot be written: each command ends with the reason and what helps, leaves the store as it
 * was, and takes no room.
 */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { busyboxRootfs } from "../../helpers/bundle.ts";
import { tool } from "../../helpers/images.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { RUNTIME, run, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const WANTED = { root: true, tsrun: true } as const;

let disk: string;
let store: string[];
/** A tar of eight megabytes that cannot be compressed. */
let big: string;

beforeEach(() => {
  if (missing(WANTED) !== undefined) return;
  disk = scratch("disk");
  tool("mount", ["-t", "tmpfs", "-o", "size=32m", "tmpfs", disk]);
  store = ["--store", join(disk, "store")];
  const dir = scratch("tars");
  const rootfs = join(dir, "rootfs");
  mkdirSync(rootfs);
  busyboxRootfs(rootfs);
  tool("tar", ["-C", rootfs, "-cf", join(dir, "base.tar"), "."]);
  runOk(["image", "import", "-q", ...store, join(dir, "base.tar"), "base"]);
  const write = "head -c 5000000 /dev/urandom > /data; rm /etc/passwd 2>/dev/null; mkdir /d";
  runOk(["run", ...store, "--rw-layer", "data", "--image", "base", "--", "sh", "-c", write]);
  runOk(["container", "snapshot", ...store, "data", "s1"]);
  mkdirSync(join(dir, "big"));
  tool("sh", ["-c", `head -c 8000000 /dev/urandom > ${dir}/big/file`]);
  big = join(dir, "big.tar");
  tool("tar", ["-C", join(dir, "big"), "-cf", big, "file"]);
});

afterEach(() => {
  if (missing(WANTED) === undefined) tool("umount", [disk]);
});

/** Every name below the disk, but for the bundles that a container had. */
function names(): string[] {
  return readdirSync(disk, { recursive: true, encoding: "utf8" }).sort();
}

/** Leaves this many kilobytes. */
function fill(kilobytes: number): void {
  const { bavail, bsize } = statfsSync(disk);
  tool("fallocate", ["-l", `${bavail * bsize - kilobytes * 1024}`, join(disk, "filler")]);
}

function free(): number {
  return statfsSync(disk).bavail;
}

function expectWhole(): void {
  expect(run(["layer", "check", ...store])).toMatchObject({ code: 0, stdout: "", stderr: "" });
}

describeNeeds(WANTED)("a disk that is full", () => {
  test.each([
    [
      "image import",
      () => [big, "more"],
      /big\.tar: write file: ENOSPC .*\n {2}fix: make room on the filesystem of the store/,
    ],
    ["image commit", () => ["data", "more"], /: write data: ENOSPC .*\n {2}fix: make room/],
    ["container snapshot", () => ["data", "s2"], /: write data: ENOSPC .*\n {2}fix: make room/],
    ["container rollback", () => ["data", "s1"], /: write data: ENOSPC .*\n {2}fix: make room/],
    ["image save", () => ["base", "-o", join(disk, "out.tar")], /: write \S+out\.tar\S*: ENOSPC/],
    ["image save", () => ["base", "--format", "oci", "-o", join(disk, "out")], /: write \S+out\S*: ENOSPC/],
    ["image save", () => ["base", "--format", "oci-archive", "-o", join(disk, "out.tar")], /: write \S+: ENOSPC/],
    ["layer export", () => ["base", "-o", join(disk, "out.tar")], /: write \S+out\.tar: ENOSPC/],
    ["bundle", () => ["base", join(disk, "bundle"), "--", "true"], /: write \S+config\.json: ENOSPC/],
  ])("%s says so and takes no room", (verb, args, message) => {
    fill(verb === "bundle" ? 0 : 600);
    const [before, room] = [names(), free()];
    const { code, stderr } = run([...verb.split(" "), ...store, ...args()]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
    expect(names()).toEqual(before);
    expect(free()).toBe(room);
    expectWhole();
  });

  test("a layout that is there already is as it was", () => {
    const layout = join(disk, "out");
    runOk(["image", "save", ...store, "base", "--format", "oci", "-o", layout]);
    runOk(["image", "commit", ...store, "data", "more"]);
    fill(600);
    const [before, room] = [names(), free()];
    const { code, stderr } = run(["image", "save", ...store, "more", "--format", "oci", "-o", layout]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/: write \S+out\S*: ENOSPC/)]);
    expect(names()).toEqual(before);
    expect(free()).toBe(room);
  });

  test("a container is refused, and nothing of it is left", () => {
    runOk(["layer", "gc", ...store]); // the bundle of the one before
    fill(0);
    const [before, room] = [names(), free()];
    const { code, stderr } = run(["run", ...store, "--image", "base", "--", "true"]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/ENOSPC .*\n {2}fix: make room on the filesystem of the store/),
    ]);
    runOk(["layer", "gc", ...store]);
    expect(names()).toEqual(before);
    expect(free()).toBe(room);
  });
});

describeNeeds(WANTED)("what is written out", () => {
  test("goes into a device or a pipe, and does not take its place", () => {
    const device = join(disk, "null");
    tool("mknod", [device, "c", "1", "3"]);
    for (const args of [
      ["image", "save", ...store, "base", "-o", device],
      ["image", "save", ...store, "base", "--format", "oci-archive", "-o", device],
      ["layer", "export", ...store, "base", "-o", device],
    ]) {
      expect(run(args), args.join(" ")).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect(lstatSync(device).isCharacterDevice()).toBe(true);
    }
  });

  test("is refused with the name that was given, where there is no place for it", () => {
    for (const verb of [
      ["image", "save"],
      ["layer", "export"],
    ]) {
      const result = (path: string) => run([...verb, ...store, "base", "-o", path]).stderr;
      expect(result("/no/such/file")).toMatch(/: open \/no\/such\/file: ENOENT \(/);
      expect(result(disk)).toContain(`: open ${disk}: EISDIR (`);
    }
  });
});

describeNeeds(WANTED)("a store that is mounted read-only", () => {
  test("is read as ever, and every change is refused with the reason", () => {
    tool("mount", ["-o", "remount,ro", disk]);
    for (const args of [
      ["image", "list"],
      ["image", "df"],
      ["image", "inspect", "base"],
      ["image", "history", "base"],
      ["layer", "list"],
      ["layer", "tree"],
      ["layer", "check"],
      ["layer", "diff", "data"],
      ["layer", "why", "base", "/bin/busybox"],
      ["container", "layers"],
      ["container", "snapshots", "data"],
      ["image", "save", "base", "-o", join(scratch("out"), "out.tar")],
      ["layer", "export", "data", "-o", join(scratch("out"), "out.tar")],
    ]) {
      const [verb, sub, ...rest] = args as [string, string, ...string[]];
      expect(run([verb, sub, ...store, ...rest]), args.join(" ")).toMatchObject({ code: 0, stderr: "" });
    }
    for (const args of [
      ["image", "import", "-q", big, "more"],
      ["image", "commit", "data", "more"],
      ["image", "tag", "base", "more"],
      ["image", "remove", "--force", "base"],
      ["container", "snapshot", "data", "s2"],
      ["container", "rollback", "data", "s1"],
      ["container", "forget", "data", "s1"],
      ["container", "remove", "data"],
      ["run", "--image", "base", "--", "true"],
    ]) {
      const [verb, ...rest] = args as [string, ...string[]];
      const words = verb === "run" ? [verb, ...store, ...rest] : [verb, rest[0] as string, ...store, ...rest.slice(1)];
      const { code, stderr } = run(words);
      expect([code, stderr], args.join(" ")).toEqual([
        1,
        expect.stringMatching(
          /^tsrun: .*: EROFS \(Read-only file system\)\n {2}fix: the store needs a filesystem that can be written\n$/,
        ),
      ]);
    }
  });
});

describeNeeds({ ...WANTED, commands: ["strace"] })("a disk that is broken", () => {
  /** Not write(2): the engine's own threads use it, too. */
  const CALLS = "mkdirat,mkdir,symlinkat,rename,renameat,renameat2,fchown,utimensat,syncfs,lsetxattr,fchmod,pwrite64";

  test.each([
    ["image import", () => ["-q", big, "more"]],
    ["image commit", () => ["data", "more"]],
    ["container snapshot", () => ["data", "s2"]],
    ["image remove", () => ["--force", "base"]],
    ["container remove", () => ["data"]],
  ])("%s ends with the error of whichever call it is, and the store is whole", (verb, args) => {
    const log = join(scratch("strace"), "log");
    let failures = 0;
    for (let nth = 1; ; nth += nth < 12 ? 1 : 5) {
      const inject = ["-f", "-qq", "-o", log, "-e", `trace=${CALLS}`, "-e", `inject=${CALLS}:error=EIO:when=${nth}`];
      const command = [...inject, RUNTIME, ...verb.split(" "), ...store, ...args()];
      const { status, stderr } = spawnSync("strace", command, { encoding: "utf8" });
      if (status === 0) break;
      expect([status, stderr], `call ${nth}`).toEqual([1, expect.stringMatching(/^tsrun: .*: EIO \(/)]);
      failures++;
      // What it could not take away is what gc is for.
      runOk(["layer", "gc", ...store]);
      expectWhole();
      if (verb === "image remove" && run(["image", "inspect", ...store, "base"]).code !== 0) break;
    }
    expect(failures).toBeGreaterThan(1);
    writeFileSync(join(disk, "room"), "");
    expect(existsSync(join(disk, "store/overlay2/l"))).toBe(true);
  });
});
