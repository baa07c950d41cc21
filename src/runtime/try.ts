/** `try`: a command over a copy-on-write view of the running system. */
import type { ChangedPath } from "../storage/inspect.ts";

/** What to run over a view of the system, and what becomes of its changes. */
export interface TryOptions {
  /** The command; absent: only look at, apply or drop what was kept under `keep`. */
  args?: readonly string[] | undefined;
  /** Keep what was changed under this name, and go on with it the next time. */
  keep?: string | undefined;
  /** The tree below. Default: /. */
  base?: string | undefined;
  cwd?: string | undefined;
  env?: readonly string[] | undefined;
  storageRoot: string;
  root?: string | undefined;
  /** What to do with the changes when the command has ended. Without it they are kept if `keep` is set, else dropped. */
  decide?:
    | ((changes: readonly ChangedPath[], exitCode: number | undefined) => Promise<"apply" | "keep" | "drop">)
    | undefined;
}

/** What the command has changed. */
export interface TryResult {
  exitCode: number | undefined;
  changes: ChangedPath[];
  /** How many entries were taken over. */
  applied: number | undefined;
}

/**
 * Runs a command over a copy-on-write view of the running system; what it changes is dropped, kept or applied.
 *
 * @throws SyscallError when the view cannot be mounted; StateError for a trial that is not there or in use
 */
export async function tryCommand(options: TryOptions): Promise<TryResult> {
  const { runTrial } = await import("./try-command.ts");
  return runTrial(options);
}
