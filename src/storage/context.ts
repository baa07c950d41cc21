/** What is the same for every deed in one store: where it is, and what this process may do there. */
import { StateError } from "../errors.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import { readText } from "./files.ts";
import type { IdMap } from "./id-map.ts";
import { replaceFile } from "./imagedb.ts";
import { type XattrSpace, xattrSpace } from "./overlay-marks.ts";
import { ensureStore, lockStore } from "./store-lock.ts";

export interface StoreContext {
  storageRoot: string;
  space: XattrSpace;
  unprivileged: boolean;
  /** In a user namespace: not all ids are there. */
  userns: boolean;
  idMap?: IdMap | undefined;
}

export function storeContext(storageRoot: string, idMap: IdMap | undefined): StoreContext {
  const isInitial = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map"));
  return {
    storageRoot,
    space: xattrSpace(!isInitial || process.geteuid?.() !== 0),
    unprivileged: process.geteuid?.() !== 0,
    userns: !isInitial,
    idMap: settledIdMap(storageRoot, idMap),
  };
}

/**
 * The mapping of the store. One store has one, because two of a layer would have one name; the first import that asks
 * for one settles it.
 *
 * @throws StateError when the store has another one
 */
function settledIdMap(storageRoot: string, wanted: IdMap | undefined): IdMap | undefined {
  const path = `${storageRoot}/image/overlay2/idmap.json`;
  const text = readText(path);
  if (wanted === undefined) return text === undefined ? undefined : (JSON.parse(text) as IdMap);
  const asked = JSON.stringify(wanted);
  if (text === asked) return wanted;
  ensureStore(storageRoot);
  const isNew = text === undefined && !existsSync(`${storageRoot}/image/overlay2/repositories.json`);
  if (!isNew) {
    throw new StateError(`the store at ${storageRoot} has ${text === undefined ? "no" : "another"} id mapping`, {
      fix: "use a store of its own for each mapping: --store DIR",
    });
  }
  using _lock = lockStore(storageRoot);
  replaceFile(path, asked);
  return wanted;
}
