/**
 * Bundles of `run --image`: bundles/<digest of config.json>, one for all containers of an image with the same command.
 * Who is about to make a container of one holds its lock, shared; a container that is there says so in its record.
 */
import { isErrno } from "../errors.ts";
import { type Fd, flockDir } from "../sys/file.ts";
import { existsSync, fstatSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { readText } from "./files.ts";
import { bundlesDir, mountsDir } from "./layout.ts";

/**
 * The bundle with this config.json; it is written when it is not there. Nobody writes it again.
 *
 * @returns its directory, and a lock: until it is released `gc` leaves the bundle alone
 */
export function claimBundle(storageRoot: string, name: string, config: string): { path: string; lock: Fd } {
  const path = `${bundlesDir(storageRoot)}/${name}`;
  for (;;) {
    mkdirSync(path, { mode: 0o711, recursive: true });
    const lock = lockQuiet(path, false);
    if (lock === undefined) continue;
    if (fstatSync(lock.fd).ino !== statSync(path)?.ino) {
      lock[Symbol.dispose](); // `gc` was quicker
      continue;
    }
    if (!existsSync(`${path}/config.json`)) {
      const temporary = `${path}/config.json.${process.pid}`;
      writeFileSync(temporary, config, { mode: 0o644 });
      renameSync(temporary, `${path}/config.json`);
    }
    return { path, lock };
  }
}

/** Removes the bundles of which there is no container. @returns how many */
export function removeBundles(storageRoot: string): number {
  const dir = bundlesDir(storageRoot);
  if (!existsSync(dir)) return 0;
  let count = 0;
  for (const name of readdirSync(dir)) {
    using lock = lockQuiet(`${dir}/${name}`, true);
    // After the lock: who had it before has a record by now.
    if (lock === undefined || isUsed(storageRoot, name)) continue;
    removeTree(dir, name);
    count++;
  }
  return count;
}

function isUsed(storageRoot: string, name: string): boolean {
  return readdirSync(mountsDir(storageRoot)).some((id) => readText(`${mountsDir(storageRoot)}/${id}/bundle`) === name);
}

/** undefined when it is gone or, for an exclusive lock, somebody else's. */
function lockQuiet(path: string, exclusive: boolean): Fd | undefined {
  try {
    return flockDir(path, exclusive ? { nonBlock: true } : { exclusive: false });
  } catch (error) {
    if (isErrno(error, "EAGAIN", "ENOENT")) return undefined;
    throw error;
  }
}
