import { describe, expect, test } from "vitest";
import { overlayLine } from "../../../src/storage/kernel-log.ts";
import {
  commonOptions,
  fitsPage,
  isPlainValue,
  mountData,
  mountFix,
  type Overlay,
  overlappingPaths,
  splitLowers,
} from "../../../src/storage/options.ts";

const overlay: Overlay = {
  lowers: ["/layers/top", "/layers/base"],
  upper: "/store/diff",
  work: "/store/work",
  userxattr: false,
  volatile: false,
};

describe("storage/options", () => {
  test("the options of mount(2) name the top layer first", () => {
    expect(mountData(overlay)).toBe(
      "index=off,lowerdir=/layers/top:/layers/base,upperdir=/store/diff,workdir=/store/work",
    );
  });

  test("marks go to user.* in a user namespace, and a volatile mount says so", () => {
    expect(commonOptions({ userxattr: true, volatile: true })).toEqual([["index", "off"], ["userxattr"], ["volatile"]]);
    expect(mountData({ ...overlay, userxattr: true })).toMatch(/^index=off,userxattr,lowerdir=/);
  });

  test("index, metacopy and xino are on when asked for", () => {
    expect(commonOptions({ userxattr: false, volatile: false, extra: ["xino", "index", "metacopy"] })).toEqual([
      ["index", "on"],
      ["metacopy", "on"],
      ["xino", "on"],
    ]);
  });

  test("a path cannot end an option or add a layer", () => {
    const odd = { ...overlay, lowers: ["/a:b,c\\d"], upper: "/u,v:w", work: "/x\\y" };
    expect(mountData(odd)).toBe("index=off,lowerdir=/a\\:b\\,c\\\\d,upperdir=/u\\,v:w,workdir=/x\\\\y");
  });

  test("one page holds 4095 bytes, counted as the kernel does", () => {
    expect(fitsPage("a".repeat(4095))).toBe(true);
    expect(fitsPage("a".repeat(4096))).toBe(false);
    expect(fitsPage("é".repeat(2048))).toBe(false);
  });

  test("a path goes to fsconfig as a string only when it is short and plain", () => {
    expect(isPlainValue("/var/lib/tsrun/overlay2/l/ABC")).toBe(true);
    for (const path of [`/${"a".repeat(255)}`, "/a:b", "/a,b", "/a\\b", "/a b", "/é", ""]) {
      expect(isPlainValue(path), path).toBe(false);
    }
  });

  test("more than 500 lower layers: the lowest go into one", () => {
    const lowers = (count: number) => Array.from({ length: count }, (_, i) => `/${i}`);
    expect(splitLowers(lowers(500)).rest).toEqual([]);
    const { single, rest } = splitLowers(lowers(501));
    expect([single.length, rest]).toEqual([499, ["/499", "/500"]]);
    expect(splitLowers(lowers(999)).rest).toHaveLength(500);
  });

  test("of two layers of which one contains the other both are named", () => {
    expect(overlappingPaths(["/a/b", "/c", "/a"])).toEqual(["/a", "/a/b"]);
    expect(overlappingPaths(["/a", "/ab"])).toBeUndefined();
    expect(overlappingPaths(["/x", "/"])).toEqual(["/", "/x"]);
    expect(mountFix("ELOOP", "overlapping lowerdir path", { ...overlay, lowers: ["/store"] })).toBe(
      "take /store or /store/diff out of the layers: the first contains the second",
    );
  });

  test("a refusal comes with what helps against it", () => {
    expect(mountFix("ENODEV", "", overlay)).toMatch(/modprobe overlay/);
    expect(mountFix("EINVAL", "filesystem on /x not supported as upperdir", overlay)).toMatch(
      /keep the store on .*ext4.*: \/store\/diff is not/,
    );
    expect(mountFix("EINVAL", "filesystem on /x is read-only", overlay)).toMatch(/can be written/);
    expect(mountFix("EINVAL", "", overlay)).toMatch(/dmesg/);
    expect(mountFix("EPERM", "", overlay)).toMatch(/CAP_SYS_ADMIN/);
    expect(mountFix("EPERM", "", { ...overlay, userxattr: true })).toMatch(/user namespace needs Linux 5.11/);
    expect(mountFix("ENOMEM", "", overlay)).toBeUndefined();
  });
});

describe("storage/kernel-log", () => {
  test("only lines of overlayfs are taken, without what the kernel adds", () => {
    expect(overlayLine("3,1234,5678,-;overlayfs: overlapping lowerdir path\n")).toBe("overlapping lowerdir path");
    expect(overlayLine("3,1,2,-;overlayfs: reason\n SUBSYSTEM=x\n DEVICE=y\n")).toBe("reason");
    expect(overlayLine("3,1,2,-;EXT4-fs error; overlayfs: not this\n")).toBeUndefined();
    expect(overlayLine("")).toBeUndefined();
  });
});
