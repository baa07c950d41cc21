/** `create`: everything up to the process, which waits for `start`. Rules: OCI runtime.md "Create". */
import { leaveContainer } from "./children.ts";
import { launch } from "./launch.ts";
import type { CreateOptions, RunResult } from "./options.ts";

/**
 * Makes a container whose process waits for startContainer; it is a child of this program.
 *
 * @returns the id, and the pid as the host sees it
 * @throws SpecError for the config; StateError when there is one of this id; StepError when the init could not carry out
 *   a step, SyscallError when the host's part failed; nothing is left behind then
 */
export function createContainer(options: CreateOptions & { id: string }): RunResult {
  const { record } = launch({ ...options, waitForStart: true });
  leaveContainer(record.pid);
  return { id: record.id, pid: record.pid };
}
