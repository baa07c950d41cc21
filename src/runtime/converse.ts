/**
 * What the runtime and the init say to each other from the spawn to the process: the same for a container and for an
 * exec. Whatever fails, nothing of it is left: no process, no descriptor, no pid file.
 */
import type { SpawnedInit } from "../init/spawn.ts";
import { sendConsole, sendPidfd } from "../io/console.ts";
import { AWAIT, type Plan } from "../plan/step.ts";
import { POLLIN } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { unlinkSync } from "../sys/fs.ts";
import { blockSignals, pidfdOpen, pidfdSendSignal, pollFd, waitid } from "../sys/process.ts";
import { initDied, stepFailure } from "./failure.ts";
import { nextMessage } from "./next-message.ts";
import { absolutePath } from "./paths.ts";
import { writePidFile } from "./pid-file.ts";

const KILL_TIMEOUT_MS = 2000;

export interface ConverseRequest {
  init: SpawnedInit;
  plan: Plan;
  consoleSocket?: string | undefined;
  pidFile?: string | undefined;
  pidfdSocket?: string | undefined;
  /** This process becomes the monitor: signals that come from the process's start on are for that one. */
  foreground?: boolean | undefined;
  /** The process waits for `start` when it is set up, instead of being executed. */
  waitForStart?: boolean;
  /** The first process waits to be put into a cgroup. */
  onCgroup?: () => void;
  /** The process is there, and sets itself up meanwhile. */
  onPid?: (pid: number) => void;
  /** Its user namespace is there, and has no ids yet. */
  onIdMaps?: () => void;
  /** Its network namespace is there, and has no devices of the host yet. */
  onNetDevices?: () => void;
  /** The source of the next mount that the runtime opens. @returns its descriptor */
  onSource?: () => number;
  /** The mounts are there, and hooks are to run before the root is changed. */
  onCreateHooks?: () => void;
  /** Everything is set up. */
  onReady?: () => void;
  /** It is about to be executed, and hooks are to run before that. */
  onStartHooks?: () => void;
  /** The init has said nothing for a second; what is thrown ends it. */
  onSilence: () => void;
  /** Its filter has a listener, which is closed afterwards. */
  onListener?: (fd: number, pid: number) => void;
}

export interface Conversed {
  pid: number;
  /** The master of the process's terminal, when it was not sent to a console socket. */
  master: number | undefined;
}

/** Answers the init until its process waits for `start`, or was executed. @throws TsrunError */
export function converse(request: ConverseRequest): Conversed {
  const result: Conversed = { pid: 0, master: undefined };
  try {
    return talk(request, result);
  } catch (error) {
    if (result.master !== undefined) closeQuiet(result.master);
    end(result.pid || request.init.pid);
    throw error;
  }
}

function talk(request: ConverseRequest, result: Conversed): Conversed {
  const { init, plan } = request;
  const speaker = { pid: 0, stops: 0 };
  let isReady = false;
  for (;;) {
    const message = nextMessage(init.sync, speaker, request.onSilence);
    switch (message.type) {
      case "pid":
        result.pid = message.pid;
        speaker.pid = message.pid;
        waitid({ pid: init.pid });
        request.onPid?.(message.pid);
        break;
      case "fd":
        if (plan.steps[message.step]?.op === "seccomp") takeListener(request, message.fd, result.pid);
        else result.master = message.fd;
        break;
      case "await":
        if (message.tag === AWAIT.SOURCE) {
          answerWith(init.sync, request.onSource);
          break;
        }
        if (message.tag !== AWAIT.READY) {
          waitingFor(request, message.tag)?.();
          init.sync.answer();
          break;
        }
        isReady = true;
        handOver(request, result);
        if (request.waitForStart) return result;
        break;
      case "fail":
        throw stepFailure(plan, message.step, message.code);
      case "eof":
        if (isReady) return result;
        // Collected for good with the end of it.
        throw initDied(waitid({ pid: result.pid || init.pid }, { keep: true }));
    }
  }
}

function takeListener({ onListener }: ConverseRequest, fd: number, pid: number): void {
  try {
    onListener?.(fd, pid);
  } finally {
    closeQuiet(fd);
  }
}

/** The descriptor is the init's from then on. */
function answerWith(sync: SpawnedInit["sync"], open: (() => number) | undefined): void {
  const fd = open?.();
  try {
    sync.answer(fd);
  } finally {
    if (fd !== undefined) closeQuiet(fd);
  }
}

/** What the init waits for. */
function waitingFor(request: ConverseRequest, tag: number): (() => void) | undefined {
  switch (tag) {
    case AWAIT.CGROUP:
      return request.onCgroup;
    case AWAIT.ID_MAPS:
      return request.onIdMaps;
    case AWAIT.NET_DEVICES:
      return request.onNetDevices;
    case AWAIT.CREATE_HOOKS:
      return request.onCreateHooks;
    case AWAIT.START_HOOKS:
      return request.onStartHooks;
    // LISTENER: the listener was handed over as it came.
    default:
      return undefined;
  }
}

/** From the answer on others may know of the process, and it goes its way. */
function handOver(request: ConverseRequest, result: Conversed): void {
  const { consoleSocket, pidFile, pidfdSocket } = request;
  if (result.master !== undefined && consoleSocket) {
    sendConsole(absolutePath(consoleSocket), result.master);
    closeQuiet(result.master);
    result.master = undefined;
  }
  request.onReady?.();
  try {
    if (pidFile) writePidFile(absolutePath(pidFile), result.pid);
    if (pidfdSocket) sendOwnPidfd(absolutePath(pidfdSocket), result.pid);
    if (request.foreground) blockSignals();
    request.init.sync.answer();
  } catch (error) {
    if (pidFile) unlinkQuiet(absolutePath(pidFile));
    throw error;
  }
}

function sendOwnPidfd(socket: string, pid: number): void {
  const pidFd = pidfdOpen(pid);
  try {
    sendPidfd(socket, pidFd);
  } finally {
    closeQuiet(pidFd);
  }
}

/** Ends a process that is our child, and collects it, unless the v1 freezer keeps it from dying until it is thawed. */
export function end(pid: number): void {
  const pidFd = pidfdOpen(pid);
  try {
    pidfdSendSignal(pidFd, 9);
    if (pollFd(pidFd, POLLIN, KILL_TIMEOUT_MS) !== 0) waitid({ pidFd });
  } finally {
    closeQuiet(pidFd);
  }
}

function unlinkQuiet(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It could not be written in the first place.
  }
}
