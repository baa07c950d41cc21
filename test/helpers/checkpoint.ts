/** Containers whose going on can be told from a new start, and the way of them into files and back. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type BundleRequest, makeBundle } from "./bundle.ts";
import { newId, RUNTIME, run, runOk, until } from "./runtime.ts";
import { scratch } from "./scratch.ts";

/** Everything of a checkpoint takes seconds where the CPU is emulated. */
export const LONG = 240_000;

/** A process that counts, under a name that no other run of it has. What is in a tmpfs is in the images too. */
export const COUNT =
  "t=$(cat /proc/sys/kernel/random/uuid); i=0; while :; do i=$((i+1)); echo $t $i > /dev/shm/n; sleep 0.1; done";

export const counting = (request: BundleRequest = {}) => makeBundle({ args: ["sh", "-c", COUNT], ...request });

export interface Count {
  /** A name that no other run of the counter has. */
  name: string;
  count: number;
}

/** How far a container has counted, once it is at least at `least`. */
export function counted(id: string, least = 1): Promise<Count> {
  return countedBy(() => run(["exec", id, "cat", "/dev/shm/n"]).stdout, id, least);
}

/** The same of a container of an engine, by a way to read /dev/shm/n. */
export async function countedBy(read: () => string, id: string, least = 1): Promise<Count> {
  let found: Count | undefined;
  await until(
    () => {
      const [name = "", count] = read().trim().split(" ");
      if (Number(count) >= least) found = { name, count: Number(count) };
      return found !== undefined;
    },
    `${id} counts to ${least}`,
    20_000,
  );
  return found as Count;
}

/** Runs a verb to its end with the null device for all that its container may write to. */
export function quietly(args: readonly string[], log?: string): void {
  const errors = join(scratch("errors"), "log");
  const { status } = spawnSync(RUNTIME, ["--log", errors, ...args], { stdio: "ignore" });
  if (status === 0) return;
  const more = log !== undefined && existsSync(log) ? readFileSync(log, "utf8").slice(-3000) : "";
  throw new Error(`${args.join(" ")}: exit code ${status}\n${readFileSync(errors, "utf8")}\n${more}`);
}

export function started(bundle: { path: string }): string {
  const id = newId();
  quietly(["run", "-d", "-b", bundle.path, id]);
  return id;
}

export function restored(bundle: { path: string }, images: string, id: string, flags: readonly string[] = []): void {
  const args = ["restore", "-d", "-b", bundle.path, "--image-path", images, ...flags, id];
  quietly(args, join(images, "restore.log"));
}

export function checkpoint(id: string, images: string, flags: readonly string[] = []): void {
  try {
    runOk(["checkpoint", "--image-path", images, ...flags, id], { timeoutMs: 60_000 });
  } catch (error) {
    const log = join(images, "dump.log");
    throw new Error(`${(error as Error).message}\n${existsSync(log) ? readFileSync(log, "utf8").slice(-3000) : ""}`);
  }
}
