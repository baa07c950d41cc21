/** The pid file: digits only, appearing whole (go-runc reads it with Atoi). */

import { TsrunError } from "../errors.ts";
import { basename, dirname } from "../path.ts";
import { renameSync, writeFileSync } from "../sys/fs.ts";

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
