/** `start`: lets the process of a created container be executed. Rules: OCI runtime.md "Start". */
import { errnoText } from "../errno.ts";
import { isErrno, StateError, StepError } from "../errors.ts";
import { type InitMessage, SyncSocket } from "../init/sync.ts";
import { AWAIT } from "../plan/step.ts";
import { Fd } from "../sys/file.ts";
import { existsSync, unlinkSync } from "../sys/fs.ts";
import { unixConnect } from "../sys/socket.ts";
import { endContainer } from "./end.ts";
import { execFailure } from "./failure.ts";
import { runHooks } from "./hooks.ts";
import { statusOf } from "./lifecycle.ts";
import { nextMessage } from "./next-message.ts";
import { Readiness } from "./notify.ts";
import type { NotifyOption } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { thawForgotten } from "./pause.ts";
import { compiledSeccomp, handOverListener } from "./seccomp.ts";
import { readConfig, readHooks, StateDirectory, type StateRecord } from "./state.ts";
import { Undo } from "./undo.ts";

/**
 * Lets the process of a created container run; returns when it is executed and the poststart hooks have ended. With a
 * `notifySocket` it returns when the container is ready, or has ended.
 *
 * @throws MissingError; StateError when it is not `created`; StepError when the process could not be executed
 */
export function startContainer(root: string | undefined, id: string, { notifySocket }: NotifyOption = {}): void {
  const state = new StateDirectory(stateRoot(root), id);
  const { record, readiness } = startLocked(state, notifySocket);
  // Without the lock: whoever kills or deletes the container ends the waiting.
  using _readiness = readiness;
  readiness?.wait(record);
}

/** Keeps others out until the process runs. */
function startLocked(
  state: StateDirectory,
  notifySocket: string | undefined,
): { record: StateRecord; readiness: Readiness | undefined } {
  using _lock = state.lock();
  using undo = new Undo();
  const record = state.read();
  const status = statusOf(record);
  // A `start` that was killed has left the socket: perhaps before it connected.
  const wasKilled = status === "running" && existsSync(state.startSocket);
  if (status === "stopped") throw new StateError("cannot start a container that has stopped");
  if (status !== "created" && !wasKilled) {
    if (status === "running") throw new StateError("cannot start an already running container");
    throw new StateError(`cannot start a container in the ${status} state`);
  }
  const readiness = notifySocket === undefined ? undefined : Readiness.open(state, notifySocket);
  if (readiness) undo.add(() => readiness[Symbol.dispose]());
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
  const speaker = { pid: record.pid, stops: 0 };
  const next = () => nextMessage(sync, speaker, () => thawForgotten(record));
  try {
    const first = next();
    unlinkSync(state.startSocket);
    converseAtStart(sync, first, next, state, record);
    runHooks(readHooks(state, record, "poststart"), "poststart", record);
  } catch (error) {
    // The init ends by itself, but a little later: the state is to say so at once.
    endContainer(record);
    throw error;
  }
  undo.keep();
  return { record, readiness };
}

/** Until the process is executed. Whatever is thrown here, the end of the connection is the end of the init. */
function converseAtStart(
  sync: SyncSocket,
  first: InitMessage,
  next: () => InitMessage,
  state: StateDirectory,
  record: StateRecord,
): void {
  const status = "created";
  for (let message = first; message.type !== "eof"; message = next()) {
    if (message.type === "fail") throw failureAtStart(state, record, message.step, message.code);
    if (message.type === "fd") {
      using listener = new Fd(message.fd);
      handOverListener(listener.fd, { spec: readConfig(state), record, status, pid: record.pid });
    } else if (message.type === "await") {
      if (message.tag === AWAIT.START_HOOKS) {
        const spec = readConfig(state);
        const seccomp = compiledSeccomp(spec.linux?.seccomp);
        const onListener = (fd: number, pid: number) => handOverListener(fd, { spec, record, status, pid });
        runHooks(spec.hooks, "startContainer", record, { seccomp, env: spec.process?.env, onListener });
      }
      sync.answer();
    }
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
