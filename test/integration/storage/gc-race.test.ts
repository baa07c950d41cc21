/** `gc` beside containers that are being made of directories, which do not take the lock of the store. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { prepareRootfs, removeRootfs } from "../../../src/storage/rootfs.ts";
import { needs } from "../../helpers/needs.ts";
import { RUNTIME, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

needs({ root: true, tsrun: true, native: true })(
  "`gc` takes nothing of a container that is just being made",
  async () => {
    const storageRoot = scratch("store");
    const layer = scratch("layer");
    mkdirSync(join(layer, "etc"));
    const stateDir = scratch("state");
    runOk(["layer", "gc", "--store", storageRoot]);
    // A store with some containers, so that `gc` has something to look through.
    for (let i = 0; i < 200; i++)
      prepareRootfs({ id: `old${i}`, layers: [layer], userns: false, storageRoot, stateDir });
    let isOver = false;
    let runs = 0;
    const failures: string[] = [];
    const collect = (): Promise<void> =>
      new Promise((resolve) => {
        const child = spawn(RUNTIME, ["layer", "gc", "--store", storageRoot], { stdio: ["ignore", "pipe", "pipe"] });
        let text = "";
        for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (text += String(bytes)));
        child.on("close", () => {
          runs++;
          if (text !== "") failures.push(text);
          resolve(isOver ? undefined : collect());
        });
      });
    const collecting = collect();
    for (let i = 0; i < 400; i++) {
      const record = prepareRootfs({ id: `c${i}`, layers: [layer], userns: false, storageRoot, stateDir });
      for (const link of record.links) expect(statSync(join(storageRoot, "overlay2/l", link)).isDirectory()).toBe(true);
      expect(existsSync(join(storageRoot, "overlay2", record.mountId, "work"))).toBe(true);
      expect(readFileSync(join(storageRoot, "overlay2", record.mountId, "lower"), "utf8")).toContain(layer);
      removeRootfs(record);
      // The other program's output is read.
      await new Promise((resolve) => setImmediate(resolve));
    }
    isOver = true;
    await collecting;
    expect(failures).toEqual([]);
    expect(runs).toBeGreaterThan(1);
  },
  120_000,
);
