/** `run`: create and start in one, and in the foreground wait for the end. */
import { removalOrder } from "../cgroup/manager.ts";
import { tallyFiles } from "../cgroup/tally.ts";
import { isErrno, TsrunError } from "../errors.ts";
import { becomeMonitor, type CleanupRecord, type MonitorRequest } from "../init/monitor.ts";
import { flushLog } from "../log.ts";
import { cleanupSteps } from "../storage/rootfs.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { host } from "../sys/engine.ts";
import { open } from "../sys/file.ts";
import { readlinkSync } from "../sys/fs.ts";
import { pidfdOpen } from "../sys/process.ts";
import { leaveContainer } from "./children.ts";
import { deleteContainer } from "./delete.ts";
import { ownEnvironment } from "./hooks.ts";
import { newId } from "./id.ts";
import { type Launched, type LaunchedSoFar, type LaunchOptions, launch } from "./launch.ts";
import { NOTIFY_DIRECTORY, NOTIFY_SOCKET } from "./notify.ts";
import type { RunOptions, RunResult } from "./options.ts";
import { encodeStatus, keepExit } from "./post-mortem.ts";
import { STATE_FILES } from "./remove-state.ts";
import { MissingError, type StateDirectory, type StateRecord } from "./state.ts";
import { exitOf } from "./wait.ts";

/**
 * `tsrun run`. Detached, it returns once the process is executed. In the foreground the calling process is
 * replaced by the native monitor: for a program that has nothing else to do, as the CLI.
 *
 * @throws SpecError, StateError, StepError; nothing is left behind then
 */
export function runInForeground(options: RunOptions): RunResult {
  const foreground = !options.detach;
  let cleanup: MonitorRequest["cleanup"] = [];
  const meanwhile: LaunchOptions["meanwhile"] = (launched) => {
    if (foreground)
      cleanup = options.keep ? [exitStep(launched, "E")] : cleanupOf(launched, options.notifySocket !== undefined);
  };
  const launched = launch({ ...options, id: options.id ?? newId(), waitForStart: false, foreground, meanwhile });
  const { id, pid } = launched.record;
  if (options.detach) {
    using readiness = launched.readiness;
    readiness?.wait(launched.record);
    return { id, pid };
  }
  return monitorContainer(launched, { ...options, cleanup });
}

/**
 * Replaces this process by the monitor of a container that runs.
 *
 * @param options `cleanup` is what the monitor does in the end; by default what `delete` would do
 */
export function monitorContainer(
  launched: Launched,
  options: Pick<RunOptions, "noSubreaper" | "keep"> & { cleanup?: MonitorRequest["cleanup"] },
): never {
  const { id, pid, hooks } = launched.record;
  const { noSubreaper, keep } = options;
  const { readiness: notify, witness, master = -1 } = launched;
  const pidFd = pidfdOpen(pid);
  const isLeft = (hooks?.includes("poststop") || isForDelete(launched)) && !keep;
  const program = isLeft ? ownProgram() : "";
  flushLog();
  const lockFd = openState(launched.state);
  let { cleanup = cleanupOf(launched, false) } = options;
  // Deleted already: nothing is left to clean up.
  if (lockFd === undefined) cleanup = [];
  else if (isLeft) {
    // `delete` does all of it, and takes the lock itself: not of another container, which may have the name by then.
    cleanup = [
      exitStep(launched, "e"),
      { op: "f", path: String(lockFd) },
      {
        op: "x",
        argv: [program, "--root", launched.state.root, "delete", id],
        // For hooks that have the runtime's; what is told nobody is kept nowhere.
        env: launched.container.spec.hooks?.poststop?.some(({ env }) => env === undefined) ? ownEnvironment() : [],
      },
    ];
  }
  becomeMonitor({ pid, pidFd, master, noSubreaper, notify, witness, cleanup, lockFd });
}

/**
 * Layers of an ordinary user: the monitor has no right over what is not his, or has a mode that keeps its owner out.
 * Hooks, the limit of a layer and what carries a network need an engine again, too.
 */
function isForDelete({ container, record }: Launched): boolean {
  const { network, overlay } = record;
  if (network !== undefined) return true;
  return overlay !== undefined && (container.host.euid !== 0 || (overlay.isLimited === true && !overlay.named));
}

/** @throws TsrunError in a program that is not tsrun itself */
function ownProgram(): string {
  const program = readlinkSync("/proc/self/exe");
  // Under whatever name it is installed, the small engine is in it, or beside it (engine/host.c); where that was not
  // built, the name alone tells it from Bun.
  if (host !== undefined || /\/(tsrun|runc)[^/]*$|-bun$/.test(program)) return program;
  throw new TsrunError(
    "poststop hooks, layers with a limit or of an ordinary user, a network by a program, of a container in the foreground need the program tsrun",
    {
      fix: "use runContainer(), which waits in this process",
    },
  );
}

/** What the monitor locks, as every other caller does. */
function openState(state: StateDirectory): number | undefined {
  try {
    return open(state.path, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** How it ended is kept before its cgroup goes: for `state`, or only for who waits for it (`events`). */
function exitStep({ record, state }: Pick<Launched, "record" | "state">, op: CleanupRecord["op"]): CleanupRecord {
  return { op, path: state.exitFile, files: record.cgroup ? tallyFiles(record.cgroup) : [] };
}

/** What `delete` would do, as the monitor does it; the state goes last. */
function cleanupOf({ record, state }: LaunchedSoFar, notifies: boolean): MonitorRequest["cleanup"] {
  const steps: MonitorRequest["cleanup"][number][] = [exitStep({ record, state }, "e")];
  for (const { path, leaf } of record.cgroup ? removalOrder(record.cgroup) : []) {
    if (leaf && !record.ownPidNamespace) steps.push({ op: "k", path });
    steps.push({ op: leaf ? "c" : "r", path });
  }
  if (record.overlay) steps.push(...cleanupSteps(record.overlay));
  if (record.rootPlace) steps.push({ op: "d", path: record.rootPlace }, { op: "r", path: record.rootPlace });
  // What could not be removed is found again from the state.
  steps.push({ op: "s", path: "" });
  if (notifies) steps.push({ op: "u", path: `${state.path}/${NOTIFY_SOCKET}` });
  if (notifies) steps.push({ op: "r", path: `${state.path}/${NOTIFY_DIRECTORY}` });
  for (const name of STATE_FILES) steps.push({ op: "u", path: `${state.path}/${name}` });
  steps.push({ op: "r", path: state.path });
  return steps;
}

/**
 * Runs a container inside a program that goes on meanwhile. The process has the standard input, output and error of
 * this one, or those of `stdio`; resolves when it has ended and, unless `keep`, everything of it is removed.
 *
 * @returns its exit code: 128 and the signal where one ended it; detached, none
 * @throws as createContainer; nothing is left behind then
 */
export async function runContainer(options: RunOptions): Promise<RunResult> {
  const launched = launch({ ...options, id: options.id ?? newId(), waitForStart: false });
  const { record, state } = launched;
  using readiness = launched.readiness;
  const { id, pid } = record;
  if (options.detach) {
    leaveContainer(pid);
    readiness?.wait(record);
    return { id, pid };
  }
  const status = await exitOf(pid, readiness);
  try {
    keepEnd(state, record, encodeStatus(status), options.keep ?? false);
  } finally {
    if (!options.keep) deleteEnded(options.root, id);
  }
  return { id, pid, exitCode: status.exitCode };
}

function keepEnd(state: StateDirectory, record: StateRecord, status: number, make: boolean): void {
  try {
    using _lock = state.lock();
    keepExit(state, record, status, make);
  } catch (error) {
    // Somebody else has deleted it.
    if (!(error instanceof MissingError)) throw error;
  }
}

function deleteEnded(root: string | undefined, id: string): void {
  try {
    deleteContainer(root, id);
  } catch (error) {
    // Somebody else was quicker.
    if (!(error instanceof MissingError)) throw error;
  }
}
