/** The small files of runtime/: undo, paths, pid file, home, timestamp. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { timestamp } from "../../../src/runtime/first-record.ts";
import { homeDirectory, homeInMounts } from "../../../src/runtime/home.ts";
import { mountOf } from "../../../src/runtime/mount-table.ts";
import { stateRoot } from "../../../src/runtime/paths.ts";
import { writePidFile } from "../../../src/runtime/pid-file.ts";
import { Undo } from "../../../src/runtime/undo.ts";
import { O_PATH } from "../../../src/sys/constants.ts";
import { closeQuiet, open } from "../../../src/sys/file.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tsrun-runtime-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("runtime/undo", () => {
  test("takes back in reverse, all of it, whatever fails", () => {
    const done: number[] = [];
    {
      using undo = new Undo();
      undo.add(() => done.push(1));
      undo.add(() => {
        throw new Error("fails");
      });
      undo.add(() => done.push(3));
    }
    expect(done).toEqual([3, 1]);
  });

  test("takes nothing back of what is kept", () => {
    const done: number[] = [];
    {
      using undo = new Undo();
      undo.add(() => done.push(1));
      undo.keep();
    }
    expect(done).toEqual([]);
  });
});

describe("runtime/launch: timestamp", () => {
  test("has nine digits of a second, from the finer clock", () => {
    expect(timestamp(1_700_000_000_123, 1_700_000_000_123.5)).toBe("2023-11-14T22:13:20.123500000Z");
    expect(timestamp(1_700_000_000_000, 1_700_000_000_000)).toBe("2023-11-14T22:13:20.000000000Z");
  });

  test("does not believe the finer clock when the time has been set meanwhile", () => {
    expect(timestamp(1_700_000_000_123, 1_600_000_000_000)).toBe("2023-11-14T22:13:20.123000000Z");
  });
});

describe("runtime/paths", () => {
  test("the root of all states is never /", () => {
    for (const root of ["/", "//", "/x/.."]) expect(() => stateRoot(root)).toThrow("cannot be /");
    expect(stateRoot("/x/y")).toBe("/x/y");
    expect(stateRoot("y")).toBe(join(process.cwd(), "y"));
  });
});

describe("runtime/pid-file", () => {
  test("has digits and nothing else, and takes the place of one that is there", () => {
    const path = join(dir, "pid");
    writeFileSync(path, "12345678");
    writePidFile(path, 42);
    expect(readFileSync(path, "utf8")).toBe("42");
    expect(readdirSync(dir)).toEqual(["pid"]);
  });

  test("one that cannot be written is named", () => {
    expect(() => writePidFile(join(dir, "missing/pid"), 42)).toThrow(`write pid file ${dir}/missing/pid`);
  });
});

describe("runtime/home", () => {
  function homeOf(uid: number): string {
    const fd = open(dir, O_PATH);
    try {
      return homeDirectory(fd, uid);
    } finally {
      closeQuiet(fd);
    }
  }

  test("is that of the first entry with the uid, when it is absolute", () => {
    mkdirSync(join(dir, "etc"));
    writeFileSync(
      join(dir, "etc/passwd"),
      "bad line\nroot:x:0:0:root:/root:/bin/sh\napp:x:10:10::/srv/app:\ntwin:x:10:10::/other:\nrel:x:11:11::home:\n",
    );
    expect([0, 10, 11, 12].map(homeOf)).toEqual(["/root", "/srv/app", "/", "/"]);
  });

  test("is that of the mount that lies over the file last, where one does", () => {
    mkdirSync(join(dir, "conf"));
    writeFileSync(join(dir, "conf/passwd"), "a:x:7:7::/in/directory:\n");
    writeFileSync(join(dir, "file"), "a:x:7:7::/of/file:\n");
    const bind = (destination: string, source: string) => ({
      destination,
      source: join(dir, source),
      options: ["bind"],
    });
    const home = (...mounts: Parameters<typeof homeInMounts>[0] & object) => homeInMounts(mounts, 7);
    expect(home()).toBeUndefined();
    expect(home(bind("/etc/passwd-", "file"), bind("/etcetera", "conf"))).toBeUndefined();
    expect(home(bind("/etc/passwd", "file"))).toBe("/of/file");
    expect(home(bind("/etc/", "conf"))).toBe("/in/directory");
    expect(home(bind("/etc", "conf"), bind("/etc/passwd", "file"))).toBe("/of/file");
    expect(home(bind("/etc/passwd", "file"), bind("/etc", "conf"))).toBe("/in/directory");
    expect(home(bind("/etc/passwd", "file"), { destination: "/etc", type: "tmpfs" })).toBe("/");
    const copied = { destination: "/etc", type: "tmpfs", options: ["tmpcopyup"] };
    expect(home(bind("/etc/passwd", "file"), copied)).toBe("/of/file");
    expect(home(bind("/etc/passwd", "none"))).toBe("/");
    expect(home(bind("/etc/passwd", "conf"))).toBe("/");
  });

  test("is / where passwd is missing, a directory, a fifo or a link to nowhere", () => {
    expect(homeOf(0)).toBe("/");
    mkdirSync(join(dir, "etc/passwd"), { recursive: true });
    expect(homeOf(0)).toBe("/");
    rmSync(join(dir, "etc/passwd"), { recursive: true });
    spawnSync("mkfifo", [join(dir, "etc/passwd")]);
    expect(homeOf(0)).toBe("/");
    rmSync(join(dir, "etc/passwd"));
    symlinkSync("/nowhere", join(dir, "etc/passwd"));
    expect(homeOf(0)).toBe("/");
  });

  test("a link to the host's passwd leads inside", () => {
    mkdirSync(join(dir, "etc"));
    writeFileSync(join(dir, "etc/own"), "root:x:0:0::/inside:\n");
    symlinkSync("../../../../../../etc/own", join(dir, "etc/passwd"));
    expect(homeOf(0)).toBe("/inside");
    expect(existsSync("/etc/own")).toBe(false);
  });
});

describe("runtime/mount-table: mountOf", () => {
  test("is the mount point that holds a path", () => {
    expect(mountOf("/proc/self/status")).toBe("/proc");
    expect(mountOf("/proc")).toBe("/proc");
    expect(mountOf("/processes")).toBe("/");
  });
});
