/** `create`: everything up to the process, which waits for `start`. Rules: OCI runtime.md "Create". */
import { leaveContainer } from "./children.ts";
import { launch } from "./launch.ts";
import type { CreateOptions, RunResult } from "./options.ts";

/** @throws SpecError, StateError, StepError; nothing is left behind then */
export function createContainer(options: CreateOptions & { id: string }): RunResult {
  const { record } = launch({ ...options, waitForStart: true });
  leaveContainer(record.pid);
  return { id: record.id, pid: record.pid };
}
