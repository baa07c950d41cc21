/** `start`: lets the process of a created container be executed. Rules: OCI runtime.md "Start". */
import { errnoText } from "../errno.ts";
import { isErrno, StateError, StepError } from "../errors.ts";
import { SyncSocket } from "../init/sync.ts";
import { existsSync, unlinkSync } from "../sys/fs.ts";
import { unixConnect } from "../sys/socket.ts";
import { endContainer } from "./end.ts";
import { execFailure } from "./failure.ts";
import { runHooks } from "./hooks.ts";
import { statusOf } from "./lifecycle.ts";
import { stateRoot } from "./paths.ts";
import { compiledSeccomp } from "./seccomp.ts";
import { readConfig, readHooks, StateDirectory, type StateRecord } from "./state.ts";

/** @throws StateError when it is not `created`; StepError when the process could not be executed */
export function startContainer(root: string | undefined, id: string): void {
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  // A `start` that was killed has left the socket: perhaps before it connected.
  const wasKilled = status === "running" && existsSync(state.startSocket);
  if (status === "stopped") throw new StateError("cannot start a container that has stopped");
  if (status !== "created" && !wasKilled) {
    throw new StateError(
      status === "creating"
        ? `cannot start a container that is ${status}`
        : "cannot start an already running container",
    );
  }
  // Written first: should we be killed after the connection, the process runs and the state says so.
  record.phase = "running";
  state.write(record);
  let fd: number;
  try {
    fd = unixConnect(state.startSocket);
  } catch (error) {
    if (isErrno(error, "ECONNREFUSED", "ENOENT")) {
      // Nobody listens: the process has been started, or has ended.
      const what = wasKilled ? "an already running container" : "a container that has stopped";
      throw new StateError(`cannot start ${what}`, { cause: error });
    }
    record.phase = "created";
    state.write(record);
    throw error;
  }
  using sync = new SyncSocket(fd);
  let message = sync.next();
  unlinkSync(state.startSocket);
  if (message.type === "await") {
    // Should one fail, the end of the connection is the end of the init.
    const config = readConfig(state);
    const seccomp = compiledSeccomp(config.linux?.seccomp);
    runHooks(config.hooks, "startContainer", record, { seccomp, env: config.process?.env });
    sync.answer();
    message = sync.next();
  }
  if (message.type === "fail") throw failureAtStart(state, record, message.step, message.code);
  const poststart = readHooks(state, record, "poststart");
  if (poststart === undefined) return;
  try {
    runHooks(poststart, "poststart", record);
  } catch (error) {
    endContainer(record);
    throw error;
  }
}

function failureAtStart(state: StateDirectory, { lateSteps }: StateRecord, step: number, code: string): StepError {
  const late = lateSteps.find(({ index }) => index === step);
  if (late?.op !== "exec") {
    const what = late ? `${late.about}: ${late.op}` : `step ${step}`;
    return new StepError(`${what}: ${code} (${errnoText(code)})`, step, code);
  }
  const { message, fix } = execFailure(readConfig(state).process?.args?.[0] ?? "", code);
  return new StepError(message, step, code, fix ? { fix } : {});
}
