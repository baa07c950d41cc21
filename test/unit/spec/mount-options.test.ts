import { describe, expect, test } from "vitest";
import { ATTR, MS, mountWord, parseMountOptions } from "../../../src/spec/mount-options.ts";

describe("spec/mount-options", () => {
  test("nothing asked is nothing done", () => {
    const nothing = parseMountOptions(undefined);
    expect(nothing).toMatchObject({ attrSet: 0, attrClear: 0, recSet: 0, recClear: 0, msFlags: 0, bind: false });
    expect(parseMountOptions(["", "defaults"])).toEqual(nothing);
  });

  test("flags of the mount, and what is for the filesystem, in order", () => {
    expect(parseMountOptions(["nosuid", "mode=755", "ro", "nodev", "size=65536k", "noexec"])).toMatchObject({
      attrSet: ATTR.NOSUID | ATTR.RDONLY | ATTR.NODEV | ATTR.NOEXEC,
      attrClear: 0,
      msFlags: MS.NOSUID | MS.RDONLY | MS.NODEV | MS.NOEXEC,
      data: ["mode=755", "size=65536k"],
    });
  });

  test("the last word wins", () => {
    expect(parseMountOptions(["ro", "rw"])).toMatchObject({ attrSet: 0, attrClear: ATTR.RDONLY, msFlags: 0 });
    expect(parseMountOptions(["rw", "ro"])).toMatchObject({ attrSet: ATTR.RDONLY, attrClear: 0, msFlags: MS.RDONLY });
    expect(parseMountOptions(["sync", "async"]).superFlags).toEqual(["async"]);
    expect(parseMountOptions(["async", "sync", "sync"]).superFlags).toEqual(["sync"]);
    expect(parseMountOptions(["dirsync", "nodirsync"])).toMatchObject({ superFlags: [], msFlags: 0 });
  });

  test("an atime mode clears the whole field, as mount_setattr(2) wants it", () => {
    expect(parseMountOptions(["noatime"])).toMatchObject({ attrSet: ATTR.NOATIME, attrClear: ATTR.ATIME_MASK });
    expect(parseMountOptions(["relatime"])).toMatchObject({ attrSet: 0, attrClear: ATTR.ATIME_MASK });
    expect(parseMountOptions(["noatime", "strictatime"])).toMatchObject({
      attrSet: ATTR.STRICTATIME,
      attrClear: ATTR.ATIME_MASK,
      msFlags: MS.STRICTATIME,
    });
    expect(parseMountOptions(["rnoatime"])).toMatchObject({
      recSet: ATTR.NOATIME,
      recClear: ATTR.ATIME_MASK,
      attrSet: 0,
    });
  });

  test("a no... word takes back only the mode it names", () => {
    const relatime = { attrSet: 0, attrClear: ATTR.ATIME_MASK };
    expect(parseMountOptions(["strictatime", "nostrictatime"])).toMatchObject(relatime);
    expect(parseMountOptions(["noatime", "atime"])).toMatchObject(relatime);
    expect(parseMountOptions(["noatime", "nostrictatime"])).toMatchObject({ attrSet: ATTR.NOATIME });
    expect(parseMountOptions(["atime"])).toMatchObject(relatime);
    expect(parseMountOptions(["norelatime"])).toMatchObject({ attrSet: 0, attrClear: 0 });
  });

  test("nodiratime is a flag of its own beside the mode", () => {
    expect(parseMountOptions(["noatime", "nodiratime"]).attrSet).toBe(ATTR.NOATIME | ATTR.NODIRATIME);
    expect(parseMountOptions(["nodiratime", "diratime"])).toMatchObject({ attrSet: 0, attrClear: ATTR.NODIRATIME });
  });

  test("recursive words stay apart from those for the mount alone", () => {
    expect(parseMountOptions(["rbind", "rro", "rnosuid", "exec", "rdev", "rnosymfollow"])).toMatchObject({
      bind: true,
      rbind: true,
      attrSet: 0,
      attrClear: ATTR.NOEXEC,
      recSet: ATTR.RDONLY | ATTR.NOSUID | ATTR.NOSYMFOLLOW,
      recClear: ATTR.NODEV,
    });
  });

  test("propagation in the order given, with MS_REC for the r... words", () => {
    expect(parseMountOptions(["rslave", "shared"]).propagation).toEqual([MS.SLAVE | MS.REC, MS.SHARED]);
    expect(parseMountOptions(["runbindable", "private"]).propagation).toEqual([MS.UNBINDABLE | MS.REC, MS.PRIVATE]);
  });

  test("bind, rbind and remount are told apart, and are not in the flags", () => {
    expect(parseMountOptions(["bind"])).toMatchObject({ bind: true, rbind: false, remount: false, msFlags: 0 });
    expect(parseMountOptions(["bind", "remount", "ro"])).toMatchObject({
      bind: true,
      remount: true,
      msFlags: MS.RDONLY,
    });
  });

  test("flags of the superblock go by their fsconfig(2) names; iversion and silent have none", () => {
    expect(parseMountOptions(["sync", "lazytime", "mand", "dirsync", "iversion", "silent"])).toMatchObject({
      superFlags: ["sync", "lazytime", "mand", "dirsync"],
      msFlags: MS.SYNCHRONOUS | MS.LAZYTIME | MS.MANDLOCK | MS.DIRSYNC | MS.I_VERSION | MS.SILENT,
    });
    expect(parseMountOptions(["iversion", "noiversion", "silent", "loud"]).msFlags).toBe(0);
  });

  test("settings that came in one option are told apart, but for commas of their values", () => {
    const data = (option: string) => parseMountOptions([option]).data;
    expect(data("mode=755,size=1m,,nr_inodes=5")).toEqual(["mode=755", "size=1m", "nr_inodes=5"]);
    expect(data("mpol=bind:0,2-3,mode=755")).toEqual(["mpol=bind:0,2-3", "mode=755"]);
    expect(data("lowerdir=/a\\,b:/c,index=off")).toEqual(["lowerdir=/a\\,b:/c", "index=off"]);
    expect(data('context="u:r:t:s0:c1,c2",mode=755')).toEqual(['context="u:r:t:s0:c1,c2"', "mode=755"]);
    expect(data('a"b,c')).toEqual(['a"b', "c"]);
    expect(data(",")).toEqual([]);
  });

  test("the words for links say which one is meant", () => {
    const none = { copyLink: false, keepSourceLink: false, keepTargetLink: false, data: [] };
    expect(parseMountOptions(["copy-symlink"])).toMatchObject({ ...none, copyLink: true });
    expect(parseMountOptions(["src-nofollow"])).toMatchObject({ ...none, keepSourceLink: true });
    expect(parseMountOptions(["dest-nofollow"])).toMatchObject({ ...none, keepTargetLink: true });
  });

  test("tmpcopyup and the words for ids are no data of a file system", () => {
    expect(parseMountOptions(["tmpcopyup"])).toMatchObject({ copyUp: true, data: [] });
    expect(parseMountOptions(["idmap"])).toMatchObject({ idmap: "mount", idmapWord: undefined, data: [] });
    const word = parseMountOptions(["ridmap=uids=0-1-2;gids=0-1-2"]);
    expect(word).toMatchObject({ idmap: "tree", idmapWord: "uids=0-1-2;gids=0-1-2", data: [] });
  });

  test("names that every object has are no words", () => {
    for (const word of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
      expect(mountWord(word)).toBeUndefined();
    }
    expect(parseMountOptions(["constructor"]).data).toEqual(["constructor"]);
  });
});
