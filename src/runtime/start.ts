/** `start`: lets the process of a created container be executed. Rules: OCI runtime.md "Start". */
import { errnoText } from "../errno.ts";
import { isErrno, StateError, StepError } from "../errors.ts";
import { SyncSocket } from "../init/sync.ts";
import { unlinkSync } from "../sys/fs.ts";
import { unixConnect } from "../sys/socket.ts";
import { execFailure } from "./failure.ts";
import { statusOf } from "./lifecycle.ts";
import { stateRoot } from "./paths.ts";
import { readConfig, StateDirectory } from "./state.ts";

/** @throws StateError when it is not `created`; StepError when the process could not be executed */
export function startContainer(root: string | undefined, id: string): void {
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  if (status === "stopped") throw new StateError("cannot start a container that has stopped");
  if (status !== "created") {
    throw new StateError(
      status === "creating"
        ? `cannot start a container that is ${status}`
        : "cannot start an already running container",
    );
  }
  let fd: number;
  try {
    fd = unixConnect(state.startSocket);
  } catch (error) {
    if (isErrno(error, "ECONNREFUSED", "ENOENT"))
      throw new StateError("cannot start a container that has stopped", { cause: error });
    throw error;
  }
  // Written first: should we be killed after the connection, the process runs and the state says so.
  record.phase = "running";
  state.write(record);
  using sync = new SyncSocket(fd);
  const message = sync.next();
  unlinkSync(state.startSocket);
  if (message.type === "fail")
    throw failureAtStart(state, message.step === record.execStep, message.step, message.code);
}

function failureAtStart(state: StateDirectory, isExec: boolean, step: number, code: string): StepError {
  if (!isExec) return new StepError(`start: step ${step} of the plan: ${code} (${errnoText(code)})`, step, code);
  const { message, fix } = execFailure(readConfig(state).process?.args?.[0] ?? "", code);
  return new StepError(message, step, code, fix ? { fix } : {});
}
