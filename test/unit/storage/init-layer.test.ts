import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fillInitLayer, hostsText, lookUp } from "../../../src/storage/init-layer.ts";
import { removePath } from "../../../src/sys/remove.ts";

let scratch: string;
let directory: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "tsrun-init-"));
  directory = join(scratch, "diff");
  mkdirSync(directory);
});
afterEach(() => removePath(scratch));

function layer(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path);
  return path;
}

describe("storage/init-layer", () => {
  test("has these files and no others", () => {
    fillInitLayer({ directory, layers: [layer("base")], hostname: "web" });
    expect(readdirSync(directory, { recursive: true }).sort()).toEqual(
      [
        ...["dev", "dev/console", "dev/pts", "dev/shm"],
        ...["etc", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"],
      ].sort(),
    );
    expect(readlinkSync(join(directory, "etc/mtab"))).toBe("/proc/mounts");
    expect(readFileSync(join(directory, "etc/hostname"), "utf8")).toBe("web\n");
  });

  test("modes do not depend on the umask", () => {
    const old = process.umask(0o077);
    try {
      fillInitLayer({ directory, layers: [layer("base")], hostname: "web" });
    } finally {
      process.umask(old);
    }
    const mode = (path: string) => (statSync(join(directory, path)).mode & 0o7777).toString(8);
    expect(["etc", "dev/pts", "proc"].map(mode)).toEqual(["755", "755", "755"]);
    expect(["etc/hosts", "etc/hostname", "dev/console"].map(mode)).toEqual(["644", "644", "755"]);
  });

  test("a directory has the mode that the topmost layer gives it", () => {
    const [base, top] = [layer("base"), layer("top")];
    for (const path of [base, top]) mkdirSync(join(path, "etc"));
    chmodSync(join(base, "etc"), 0o700);
    chmodSync(join(top, "etc"), 0o751);
    fillInitLayer({ directory, layers: [base, top], hostname: "web" });
    expect(statSync(join(directory, "etc")).mode & 0o7777).toBe(0o751);
  });

  test("nothing is made below what is no directory in the layers", () => {
    const base = layer("base");
    symlinkSync("/", join(base, "etc"));
    symlinkSync(scratch, join(base, "proc"));
    writeFileSync(join(base, "dev"), "");
    fillInitLayer({ directory, layers: [base], hostname: "web" });
    expect(readdirSync(directory)).toEqual(["sys"]);
  });

  test("a symlink that a higher layer replaced by a directory does not matter", () => {
    const [base, top] = [layer("base"), layer("top")];
    symlinkSync("/", join(base, "etc"));
    mkdirSync(join(top, "etc"));
    fillInitLayer({ directory, layers: [base, top], hostname: "web" });
    expect(lstatSync(join(directory, "etc")).isDirectory()).toBe(true);
    expect(lookUp([base, top], "etc")?.isDirectory()).toBe(true);
    expect(lookUp([base], "etc")?.isSymbolicLink()).toBe(true);
    expect(lookUp([base, top], "nothing")).toBeUndefined();
  });

  test("hosts has the loopback names and the container's own", () => {
    expect(hostsText("web").split("\n").slice(0, 3)).toEqual([
      "127.0.0.1\tlocalhost",
      "127.0.1.1\tweb",
      "::1\tlocalhost ip6-localhost ip6-loopback",
    ]);
    expect(hostsText("localhost").match(/\tlocalhost/g)).toHaveLength(2);
  });

  test("a hostname cannot write lines into hosts", () => {
    for (const hostname of ["a\n10.0.0.1 bank.example", "a b", "a#b", ""]) {
      expect(hostsText(hostname)).toBe(hostsText("localhost"));
    }
  });
});
