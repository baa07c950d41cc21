/** prepareRootfs stopped before each of its writes, as by SIGKILL: nothing in it runs after that either. */
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { prepareRootfs, removeRootfs } from "../../../src/storage/rootfs.ts";
import { removePath } from "../../../src/sys/remove.ts";

const kill = vi.hoisted(() => ({ before: Number.POSITIVE_INFINITY, calls: 0 }));

vi.mock("../../../src/sys/fs.ts", async (importOriginal) => {
  const fs = await importOriginal<typeof import("../../../src/sys/fs.ts")>();
  const counted = <A extends unknown[], R>(call: (...args: A) => R, halfway?: (...args: A) => void) => {
    return (...args: A): R => {
      if (++kill.calls === kill.before) {
        halfway?.(...args);
        throw new Error("killed");
      }
      return call(...args);
    };
  };
  return {
    ...fs,
    mkdirSync: counted(fs.mkdirSync),
    symlinkSync: counted(fs.symlinkSync),
    chmodSync: counted(fs.chmodSync),
    // A write is an open and a write: in between the file is there and empty.
    writeFileSync: counted(fs.writeFileSync, (path) => fs.writeFileSync(path, "")),
  };
});

let scratch: string;
beforeEach(() => {
  kill.before = Number.POSITIVE_INFINITY;
  scratch = mkdtempSync(join(tmpdir(), "tsrun-killed-"));
});
afterEach(() => {
  kill.before = Number.POSITIVE_INFINITY;
  removePath(scratch);
});

const list = (path: string): string[] => (existsSync(path) ? readdirSync(path).sort() : []);

/** Runs prepareRootfs killed before its first write, its second and so on; each time `check` looks at what is left. */
function atEveryWrite(rwLayer: string | undefined, check: (storageRoot: string) => void): number {
  for (let before = 1; ; before++) {
    const storageRoot = join(scratch, `store${before}`);
    kill.calls = 0;
    kill.before = before;
    const request = { id: "web", layers: [`${tmpdir()}`], userns: false, storageRoot, hostname: "web" };
    let killed = false;
    try {
      prepareRootfs(rwLayer === undefined ? request : { ...request, rwLayer });
    } catch (error) {
      if ((error as Error).message !== "killed") throw error;
      killed = true;
    }
    kill.before = Number.POSITIVE_INFINITY;
    check(storageRoot);
    if (!killed) return before;
  }
}

describe("storage: a tsrun that was killed in prepareRootfs", () => {
  test("is cleaned up after from the id alone", () => {
    const writes = atEveryWrite(undefined, (storageRoot) => {
      removeRootfs({ id: "web", storageRoot });
      expect(list(`${storageRoot}/overlay2`).filter((name) => name !== "l")).toEqual([]);
      expect(list(`${storageRoot}/overlay2/l`)).toEqual([]);
      expect(list(`${storageRoot}/image/overlay2/layerdb/mounts`)).toEqual([]);
    });
    expect(writes).toBeGreaterThan(30);
  });

  test("does not keep a second try from working, nor leave anything of the first", () => {
    atEveryWrite(undefined, (storageRoot) => {
      const { mountId } = prepareRootfs({ id: "web", layers: [tmpdir()], userns: false, storageRoot });
      expect(list(`${storageRoot}/overlay2`)).toEqual([mountId, `${mountId}-init`, "l"].sort());
      expect(list(`${storageRoot}/overlay2/l`)).toHaveLength(2);
    });
  });

  test("leaves a named layer that the next container can use", () => {
    atEveryWrite("data", (storageRoot) => {
      removeRootfs({ id: "web", storageRoot });
      expect(list(`${storageRoot}/overlay2`).filter((name) => name !== "l" && name !== "rw-data")).toEqual([]);
      prepareRootfs({ id: "two", layers: [tmpdir()], userns: false, storageRoot, rwLayer: "data" });
      expect(list(`${storageRoot}/overlay2`)).toEqual(["l", "rw-data", "rw-data-init"]);
      expect(list(`${storageRoot}/overlay2/l`)).toHaveLength(2);
      expect(list(`${storageRoot}/overlay2/rw-data`)).toEqual(["diff", "link", "lower", "merged", "work"]);
    });
  });
});
