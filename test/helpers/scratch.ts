/**
 * Directories that a test file writes to. In the sandbox the temporary directory is a fresh tmpfs; what a
 * file made is removed when the file is done, unless something is still mounted below it: nothing is
 * ever removed through a mount.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Names this process's containers, cgroups and directories, so that what is left behind can be told apart. */
export const TEST_PREFIX = `tsrun-test-${process.pid}`;

let top: string | undefined;
let counter = 0;

/** A new empty directory, readable by everyone (a container of another uid has to reach its rootfs). */
export function scratch(name = "dir"): string {
  if (top === undefined) {
    top = mkdtempSync(join(tmpdir(), `${TEST_PREFIX}-`));
    chmodSync(top, 0o755);
  }
  const path = join(top, `${name}-${++counter}`);
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
}

/** The directory that holds all of this process's scratch directories, if there is one. */
export function scratchTop(): string | undefined {
  return top;
}

/** Called by test/setup/each-file.ts when a file is done. */
export function removeScratch(): void {
  if (top === undefined) return;
  const mountpoints = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const below = mountpoints.map((line) => line.split(" ")[4] ?? "").filter((at) => at.startsWith(`${top}/`));
  if (below.length > 0) throw new Error(`still mounted, so not removed: ${below.join(" ")}`);
  rmSync(top, { recursive: true, force: true });
  top = undefined;
}
