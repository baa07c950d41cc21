/**
 * Containers that outlive the call that made them. Their output goes to files: a pipe would keep the caller
 * waiting until the container ends.
 */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bundle, makeBundle } from "./bundle.ts";
import { newId, program, type RunOptions, runOk, until } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export interface Detached {
  code: number;
  /** What the runtime, and the container since, have written. */
  stdout(): string;
  stderr(): string;
}

/** Runs the runtime to its end with its output in files; for `create` and `run -d`. */
export function runDetached(args: readonly string[], options: RunOptions = {}): Detached {
  const dir = scratch("output");
  const paths = [join(dir, "stdout"), join(dir, "stderr")] as const;
  const [stdout, stderr] = [openSync(paths[0], "w"), openSync(paths[1], "w")];
  const result = spawnSync(options.runtime ?? program(), args, {
    stdio: ["ignore", stdout, stderr],
    env: options.env === undefined ? process.env : { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  closeSync(stdout);
  closeSync(stderr);
  return {
    code: result.status ?? -1,
    stdout: () => readFileSync(paths[0], "utf8"),
    stderr: () => readFileSync(paths[1], "utf8"),
  };
}

export interface Container {
  id: string;
  stdout(): string;
  stderr(): string;
  /** Resolves when the container has written the text. */
  waitFor(text: string): Promise<void>;
}

/** A container that was created, and not started. */
export function createContainer(
  bundle: { path: string },
  flags: readonly string[] = [],
  options?: RunOptions,
): Container {
  const id = newId();
  const made = runDetached(["create", "-b", bundle.path, ...flags, id], options);
  if (made.code !== 0) throw new Error(`create: exit code ${made.code}\n${made.stderr()}`);
  return {
    id,
    stdout: made.stdout,
    stderr: made.stderr,
    waitFor: (text) => until(() => made.stdout().includes(text), `the container writes ${JSON.stringify(text)}`),
  };
}

/** A container that runs. */
export function startContainer(
  bundle: { path: string },
  flags: readonly string[] = [],
  options?: RunOptions,
): Container {
  const container = createContainer(bundle, flags, options);
  runOk(["start", container.id]);
  return container;
}

/** A bundle whose process does nothing until it is killed. */
export function sleepingBundle(request: Parameters<typeof makeBundle>[0] = {}): Bundle {
  return makeBundle({ args: ["sleep", "3600"], ...request });
}
