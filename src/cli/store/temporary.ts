/** A directory that goes when it is disposed of. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { removePath } from "../../sys/remove.ts";

export function makeTemporary(): { path: string } & Disposable {
  const path = mkdtempSync(`${tmpdir()}/tsrun-`);
  return { path, [Symbol.dispose]: () => removePath(path) };
}
