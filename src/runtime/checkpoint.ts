/** `checkpoint` and `restore`. What they are made of is loaded on demand: hardly any container ever needs it. */
import { leaveContainer } from "./children.ts";
import type { CheckpointOptions, RestoreOptions, RunResult } from "./options.ts";

/**
 * Writes the container's processes to files. It is removed then, as under runc and crun, unless it is left running.
 *
 * @throws StateError when it does not run; TsrunError with what criu said
 */
export async function checkpointContainer(options: CheckpointOptions): Promise<void> {
  const { dump } = await import("./dump.ts");
  dump(options);
}

/**
 * Makes a container of a bundle and of the files of a checkpoint. The processes outlive this call.
 *
 * @throws SpecError, StateError; TsrunError with what criu said; nothing is left behind then
 */
export async function restoreContainer(options: RestoreOptions): Promise<RunResult> {
  const { restore } = await import("./restore.ts");
  const { record } = restore({ ...options, detach: true });
  leaveContainer(record.pid);
  return { id: record.id, pid: record.pid };
}

/**
 * The same for a program that has nothing else to do: unless detached, it is replaced by the native monitor.
 *
 * @throws as restoreContainer; TsrunError in a program that is not tsrun, where only tsrun could wait for it
 */
export async function restoreInForeground(options: RestoreOptions): Promise<RunResult> {
  if (options.detach) return restoreContainer(options);
  const { restore } = await import("./restore.ts");
  const { monitorContainer } = await import("./run.ts");
  return monitorContainer(restore(options), { noSubreaper: options.noSubreaper });
}
