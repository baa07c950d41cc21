/**
 * The store after the power has failed: a command is stopped after each of its calls that rename or wait for the disk, the
 * image of its file system is copied, and mounted anew. The kernel writes nothing back by itself here (commit=300), so the
 * disk has what the command has asked for with syncfs(2) and fsync(2), and nothing else; or, the second time, all of it.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { makeDisk, mountDisk, noDisk } from "../../helpers/disk.ts";
import { tool } from "../../helpers/images.ts";
import { missing } from "../../helpers/needs.ts";
import { RUNTIME, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar } from "../../helpers/tar.ts";

const MKFS = ["mkfs.ext4", "-q"];
const OPTIONS = "commit=300";
/** After these the disk, or what it would have, is another one. */
const CALLS = "fsync,fdatasync,syncfs,rename,renameat,renameat2";
const reason =
  missing({ root: true, tsrun: true, native: true, commands: ["mkfs.ext4", "strace"] }) ?? noDisk(MKFS, OPTIONS, 16);

/** Runs a command that is stopped after each of CALLS until `stopped` has looked. @returns how often, and what it printed */
async function stopOften(args: readonly string[], stopped: (nth: number) => Promise<void>): Promise<[number, string]> {
  const log = join(scratch("strace"), "log");
  const flags = ["-f", "-o", log, "-e", `trace=${CALLS}`, "-e", `inject=${CALLS}:signal=STOP`];
  const child = spawn("strace", [...flags, RUNTIME, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const closed = new Promise((resolve) => child.on("close", resolve));
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  const lines = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n") : []);
  // Its first thread makes all the calls; those of the engine stop with it.
  const stops = () => lines().filter((line) => line.endsWith("--- stopped by SIGSTOP ---") && line.startsWith(pid()));
  const pid = () => lines()[0]?.split(" ")[0] ?? "";
  for (let count = 0; ; count++) {
    await until(() => isOver() || stops().length > count, "it stands still");
    if (isOver()) {
      expect(await closed, args.join(" ")).toBe(0);
      return [count, output.trim()];
    }
    try {
      await stopped(count + 1);
    } catch (error) {
      process.kill(Number(pid()), "SIGKILL");
      await closed;
      throw error;
    }
    process.kill(Number(pid()), "SIGCONT");
  }
}

test.skipIf(reason !== undefined)(
  `a power failure at any moment leaves the store whole, and what was reported as stored in it${reason ? ` (skipped: ${reason})` : ""}`,
  async () => {
    const disk = makeDisk(MKFS, OPTIONS, 96);
    try {
      const dir = scratch("tars");
      const storageRoot = join(disk.path, "store");
      const store = new LayerStore({ storageRoot });
      const stored = new Map<string, string>();
      const copy = join(dir, "copy");
      const cut = async (changing: string, isSynced: boolean, when: string) => {
        if (isSynced) tool("sync", ["-f", disk.path]);
        tool("cp", ["--sparse=always", disk.image, copy]);
        const later = mountDisk(copy, "rw");
        try {
          await checkAfter(join(later.path, "store"), stored, changing, when);
        } finally {
          later.unmount();
        }
      };

      const tar = join(dir, "t.tar");
      for (const isSynced of [false, true]) {
        const content = `${isSynced} `.repeat(200);
        writeFileSync(tar, makeTar(Array.from({ length: 100 }, (_, n) => ({ name: `d${n % 10}/f${n}`, content }))));
        const name = `${isSynced}:latest`;
        const args = ["image", "import", "-q", "--store", storageRoot, tar, name];
        const [count, id] = await stopOften(args, (nth) => cut(name, isSynced, `import, after call ${nth}`));
        expect(count).toBeGreaterThan(6);
        stored.set(name, id);
      }
      for (const isSynced of [false, true]) {
        const name = `${isSynced}:latest`;
        const args = ["image", "remove", "--force", "--store", storageRoot, name];
        const [count] = await stopOften(args, (nth) => cut(name, isSynced, `remove, after call ${nth}`));
        expect(count).toBeGreaterThan(2);
        stored.delete(name);
      }
      expect(await store.check()).toEqual([]);
      await cut("", false, "at the end");
    } finally {
      disk.unmount();
    }
  },
  600_000,
);

/** @param changing the name that was just being changed: it may be as before, or as after */
async function checkAfter(
  storageRoot: string,
  stored: ReadonlyMap<string, string>,
  changing: string,
  when: string,
): Promise<void> {
  const store = new LayerStore({ storageRoot });
  const faults = await store.check();
  expect(
    faults.filter(({ repair }) => repair !== "tsrun layer gc"),
    when,
  ).toEqual([]);
  const names = new Map((await store.images()).flatMap(({ id, names }) => names.map((name) => [name, id] as const)));
  for (const [name, id] of stored) if (name !== changing) expect(names.get(name), `${name}, ${when}`).toBe(id);
  await store.gc();
  expect(await store.check(), `${when}, after gc`).toEqual([]);
}
