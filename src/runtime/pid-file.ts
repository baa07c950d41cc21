/** The pid file: digits only, appearing whole (go-runc reads it with Atoi). */
import { renameSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { TsrunError } from "../errors.ts";

/** @throws TsrunError */
export function writePidFile(path: string, pid: number): void {
  const temporary = `${dirname(path)}/.${basename(path)}.tsrun`;
  try {
    writeFileSync(temporary, String(pid), { mode: 0o644 });
    renameSync(temporary, path);
  } catch (cause) {
    throw new TsrunError(`write pid file ${path}`, { cause });
  }
}
