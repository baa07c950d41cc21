/**
 * Killed at any moment, the store opens, `check` finds nothing wrong, and what was reported as stored is there.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { LayerStore } from "../../src/storage/layer-store.ts";
import { prepareRootfs, removeRootfs } from "../../src/storage/rootfs.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";
import { makeTar } from "./tar.ts";

/** Runs tsrun and kills it after so many milliseconds, unless it has ended. @returns what it had printed, if it ended well */
function runAndKill(args: readonly string[], afterMs: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(RUNTIME, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(stdout);
      else if (signal === "SIGKILL") resolve(undefined);
      else reject(new Error(`${args.join(" ")}: ${code} ${signal}\n${stderr}`));
    });
  });
}

/** The named layer of a container that was. */
function leaveNamedLayer(storageRoot: string, base: string): void {
  const record = prepareRootfs({ id: "spare", layers: [base], userns: false, storageRoot, rwLayer: "spare" });
  for (let i = 0; i < 50; i++) writeFileSync(join(storageRoot, "overlay2", record.mountId, "diff", `f${i}`), "");
  removeRootfs(record);
}

/** Imports, commits, collects and removes until so many of these were killed. */
export async function killStoreCommands(kills: number): Promise<void> {
  const dir = scratch("kill");
  const storageRoot = join(dir, "store");
  const store = new LayerStore({ storageRoot });
  const at = (name: string) => join(dir, name);
  for (let i = 0; i < 4; i++) {
    const files = Array.from({ length: 300 }, (_, n) => ({
      name: `d${n % 10}/f${n}`,
      content: `${i} ${n} `.repeat(100),
    }));
    writeFileSync(at(`t${i}.tar`), makeTar(files));
  }
  await store.importImage(at("t0.tar"), { name: "base" });
  // A read-write layer on the image, as a container leaves it.
  const [base] = (await store.image("base")).layers;
  const home = join(storageRoot, "overlay2/rw-data");
  for (const name of ["diff", "work"]) mkdirSync(join(home, name), { recursive: true });
  const { lowersOf } = await import("../../src/storage/layerdb.ts");
  const { formatLower } = await import("../../src/storage/link.ts");
  const init = { link: "A".repeat(26) };
  writeFileSync(join(home, "lower"), formatLower([init, ...lowersOf(storageRoot, base as string)]));

  const stored = new Map<string, string>([["base:latest", (await store.image("base")).id]]);
  /** How long each command takes when nobody kills it, so that kills fall within. */
  const durations = new Map<string, number>();
  const random = fc.sample(fc.double({ min: 0, max: 1, noNaN: true }), kills * 2);
  let killed = 0;
  for (let i = 0; killed < kills && i < kills * 4; i++) {
    const name = `n${i % 5}:latest`;
    const commands: Record<string, string[]> = {
      import: ["image", "import", "-q", "--store", storageRoot, at(`t${1 + (i % 3)}.tar`), name],
      commit: ["image", "commit", "--store", storageRoot, "data", name],
      remove: ["image", "remove", "--force", "--store", storageRoot, name],
      gc: ["layer", "gc", "--store", storageRoot],
      spare: ["container", "remove", "--store", storageRoot, "spare"],
    };
    const kind = ["import", "commit", "spare", "import", "remove", "gc", "commit", "remove"][i % 8] as string;
    if (kind === "remove" && !stored.has(name)) continue;
    if (kind === "spare") leaveNamedLayer(storageRoot, base as string);
    writeFileSync(join(home, "diff", `change-${i}`), String(i));
    const begin = performance.now();
    const limit = durations.has(kind)
      ? (durations.get(kind) as number) * (random[i % random.length] as number)
      : 60_000;
    const before = stored.get(name);
    const output = await runAndKill(commands[kind] as string[], limit);
    if (output === undefined) killed++;
    else if (!durations.has(kind)) durations.set(kind, performance.now() - begin);

    // The next program opens the store, and finds nothing wrong but what gc takes away.
    const faults = await store.check();
    expect(
      faults.filter(({ repair }) => repair !== "tsrun layer gc"),
      `after ${kind}, killed after ${limit} ms`,
    ).toEqual([]);
    const names = new Map(
      (await store.images()).flatMap((image) => image.names.map((each) => [each, image.id] as const)),
    );
    if (output !== undefined && (kind === "import" || kind === "commit"))
      stored.set(name, output.trim().split(" ")[0] as string);
    else if (kind === "remove") {
      // Killed, it may or may not have come so far.
      if (output !== undefined) expect(names.has(name)).toBe(false);
      if (!names.has(name)) stored.delete(name);
    } else if (output === undefined && (kind === "import" || kind === "commit")) {
      // The old image or the new one has the name.
      if (names.get(name) !== before) stored.set(name, names.get(name) as string);
    }
    for (const [each, id] of stored) expect(names.get(each), `${each} after ${kind} killed after ${limit} ms`).toBe(id);
  }
  expect(killed).toBeGreaterThan(kills / 2);
  await store.gc();
  expect(await store.check()).toEqual([]);
  const leftovers = readdirSync(join(storageRoot, "overlay2")).filter((name) => name.startsWith("new-"));
  expect(leftovers).toEqual([]);
  if ((await store.rwLayers()).some(({ name }) => name === "spare")) await store.removeRwLayer("spare");
  expect((await store.rwLayers()).map(({ name }) => name)).toEqual(["data"]);
}
