import { describe, expect, test } from "vitest";
import {
  dumpedMounts,
  fileName,
  inheritedStdio,
  isOutside,
  isOutsideFile,
  isOutsideTerminal,
  NULL,
  parseMountinfo,
  restoredMounts,
  terminalName,
} from "../../../src/criu/external.ts";

const TABLE = parseMountinfo(`100 90 254:1 /rootfs / rw - ext4 /dev/vda rw
101 100 0:41 / /proc rw - proc proc rw
102 100 254:16 /a /data ro master:5 - ext4 /dev/vdb rw
103 102 0:60 / /data/below rw - tmpfs tmpfs rw
104 102 254:16 /b /data/listed rw - ext4 /dev/vdb rw
105 101 0:5 /null /proc/kcore ro master:2 - devtmpfs devtmpfs rw
106 100 254:16 /c /with\\040space rw - ext4 /dev/vdb rw
`);
const NODES = [
  { path: "/dev/null", device: "0:5" },
  { path: "/dev/zero", device: "0:5" },
];

describe("criu/external", () => {
  test("a mount from outside is named by its destination, and what lies below it too", () => {
    expect(dumpedMounts(TABLE, [{ name: "/data", mountId: 102 }], [])).toEqual([
      "mnt[/data]:/data",
      "mnt[/data/below]:/data/below",
      "mnt[/data/listed]:/data/listed",
    ]);
  });

  test("a destination that leads through a link is named as it is written, at the place where it is", () => {
    const outside = [{ name: "/link/data", mountId: 102 }];
    expect(dumpedMounts(TABLE, outside, [])).toContain("mnt[/data/below]:/link/data/below");
  });

  test("what config.json mounts below another mount has its own name", () => {
    const outside = [
      { name: "/data", mountId: 102 },
      { name: "/other/name", mountId: 104 },
    ];
    expect(dumpedMounts(TABLE, outside, [])).toContain("mnt[/data/listed]:/other/name");
  });

  test("a mount that the container has taken away is not named: its path lies in the root", () => {
    expect(dumpedMounts(TABLE, [{ name: "/gone", mountId: 100 }], [])).toEqual([]);
    expect(dumpedMounts(TABLE, [{ name: "/gone", mountId: 999 }], [])).toEqual([]);
  });

  test("a node of the host is named by its path, wherever it was put", () => {
    expect(dumpedMounts(TABLE, [], NODES)).toEqual(["mnt[/proc/kcore]:/dev/null"]);
  });

  test("octal digits in a path are what they stand for", () => {
    expect(dumpedMounts(TABLE, [{ name: "/x", mountId: 106 }], [])).toEqual(["mnt[/with space]:/x"]);
  });

  test("a restore says what each name stands for now", () => {
    expect(restoredMounts(new Map([["/data", "/srv/new"]]))).toEqual(["mnt[/data]:/srv/new"]);
  });

  test("an outside file has criu's name, in hexadecimal digits", () => {
    expect(fileName(163, 34)).toBe("file[a3:22]");
    expect(isOutsideFile("file[a3:22]")).toBe(true);
  });

  test("a terminal outside has criu's name, of device numbers as programs see them", () => {
    const number = (major: number, minor: number) => major * 0x100000 + minor;
    expect(terminalName(number(136, 3), number(0, 29))).toBe("tty[8803:1d]");
    expect(terminalName(number(136, 300), number(0, 513))).toBe("tty[10882c:200001]");
    expect(isOutsideTerminal("tty[8803:1d]")).toBe(true);
    expect(isOutsideTerminal("/dev/pts/3")).toBe(false);
    expect([...inheritedStdio(["tty[8803:1d]", "tty[8803:1d]", "pipe:[1]"])]).toEqual([
      ["tty[8803:1d]", 0],
      ["pipe:[1]", 2],
    ]);
  });

  test("pipes and outside files can be replaced, the container's own files cannot", () => {
    expect(["pipe:[1]", "file[a3:22]", "/dev/pts/0", "socket:[5]", ""].map(isOutside)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  test("a pipe leads to the one at the same descriptor, one that is there twice once; the null device stays itself", () => {
    const [pipe, file] = ["pipe:[1]", "file[a3:22]"];
    expect([...inheritedStdio([file, pipe, pipe, file])]).toEqual([
      [file, NULL],
      [pipe, 1],
    ]);
    expect([...inheritedStdio(["/dev/pts/0", file, 7])]).toEqual([[file, 1]]);
    expect([...inheritedStdio([])]).toEqual([]);
  });
});
