/** The pid file: digits only, appearing whole (go-runc reads it with Atoi). */

import { TsrunError } from "../errors.ts";
import { basename, dirname } from "../path.ts";
import { renameSync, unlinkSync, writeFileSync } from "../sys/fs.ts";

/** @throws TsrunError */
export function writePidFile(path: string, pid: number): void {
  const temporary = `${dirname(path)}/.${basename(path)}.tsrun`;
  try {
    writeFileSync(temporary, String(pid), { mode: 0o644 });
    renameSync(temporary, path);
  } catch (cause) {
    unlinkQuiet(temporary);
    throw new TsrunError(`write pid file ${path}`, { cause });
  }
}

function unlinkQuiet(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not made. What failed before is the error to report.
  }
}
