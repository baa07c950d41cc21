/**
 * Hooks: programs of config.json that run at fixed points of a container's life, with its state on standard input.
 * Rules: OCI config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
 */
import { inFull, isErrno, TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { debug, isDebugging, warn } from "../log.ts";
import { planHook } from "../plan/hooks.ts";
import { HOOK_OUTPUT } from "../spec/crun.ts";
import type { Hook, Hooks } from "../spec/types.ts";
import { type Captured, capture } from "../sys/capture.ts";
import { signalName } from "../sys/constants.ts";
import { closeQuiet, Fd } from "../sys/file.ts";
import { appendFileSync, existsSync, readFileSync } from "../sys/fs.ts";
import { pidfdOpen, waitid } from "../sys/process.ts";
import { posixSpawn } from "../sys/spawn.ts";
import { end } from "./converse.ts";
import { stepFailure } from "./failure.ts";
import { foreignNamespaces } from "./namespaces.ts";
import { nextMessage } from "./next-message.ts";
import type { ContainerStatus } from "./options.ts";
import { openRoot } from "./root-place.ts";
import { type HookStage, ociState, type StateRecord } from "./state.ts";

/** What seccomp ends a process by. */
const SIGSYS = 31;

/** What the container is at each stage; `prestart` to `createContainer` run while it is made. */
const STATUS: Readonly<Record<HookStage, ContainerStatus>> = {
  prestart: "creating",
  createRuntime: "creating",
  createContainer: "creating",
  startContainer: "created",
  poststart: "running",
  poststop: "stopped",
};

/** Run with the root file system and in the namespaces of the container. */
const INSIDE: ReadonlySet<HookStage> = new Set(["createContainer", "startContainer"]);

/** The stages that a config has hooks for. */
export function hookStages(hooks: Hooks | undefined): HookStage[] {
  return (Object.keys(STATUS) as HookStage[]).filter((stage) => hooks?.[stage]?.length);
}

/** What hooks have that run in the place of the container's process. */
export interface Inside {
  /** The container's filter; only startContainer hooks run under it. */
  seccomp?: { flags: number; program: Uint8Array } | undefined;
  /** The environment of a hook that names none: that of the container's process. */
  env: readonly string[] | undefined;
  /** The filter has a listener, for the process of this pid; it is closed afterwards. */
  onListener?: ((fd: number, pid: number) => void) | undefined;
}

/**
 * Runs the hooks of a stage, one after another.
 *
 * @throws TsrunError for the first that fails; the rest are not run
 */
export function runHooks(hooks: Hooks | undefined, stage: HookStage, record: StateRecord, inside?: Inside): void {
  hooks?.[stage]?.forEach((hook, i) => {
    runHook(hook, `hooks.${stage}[${i}]`, stage, record, inside);
  });
}

/**
 * For hooks whose failure is no reason to stop: all are run, and what fails is warned of.
 *
 * @param patience in seconds, for one that has no timeout of its own
 */
export function runHooksAnyhow(
  hooks: Hooks | undefined,
  stage: HookStage,
  record: StateRecord,
  patience?: number | undefined,
): void {
  hooks?.[stage]?.forEach((hook, i) => {
    try {
      const timeout = hook.timeout ?? patience;
      runHook(timeout === undefined ? hook : { ...hook, timeout }, `hooks.${stage}[${i}]`, stage, record);
    } catch (error) {
      warn(inFull(error));
    }
  });
}

function runHook(
  hook: Hook,
  about: string,
  stage: HookStage,
  record: StateRecord,
  inside: Inside | undefined = undefined,
): void {
  const what = `error running hook: ${about} ${hook.path}`;
  const start = INSIDE.has(stage) ? startInside : startOutside;
  let result: Captured;
  try {
    result = capture({
      start: (stdio) => start({ hook, about, stage, record, stdio, inside }),
      input: JSON.stringify(ociState(record, STATUS[stage])),
      timeoutMs: hook.timeout === undefined ? undefined : hook.timeout * 1000,
    });
  } catch (cause) {
    // The path is in the message already, and the usual words for ENOENT would be taken for a missing command.
    if (isErrno(cause, "ENOENT")) throw new TsrunError(`${what}: there is no such program`);
    throw new TsrunError(what, { cause });
  }
  keepOutput(result, record.annotations);
  const { status, timedOut, milliseconds, stdout, stderr } = result;
  const took = `after ${(milliseconds / 1000).toFixed(2)} s`;
  if (status.exitCode === 0) {
    if (isDebugging()) debug(`${what}: ended ${took}${printed(stdout, stderr)}`);
    return;
  }
  const end = timedOut
    ? `killed, as its timeout of ${hook.timeout} s was over`
    : status.signal === 0
      ? `ended with exit code ${status.exitCode} ${took}`
      : `killed by ${signalName(status.signal)}${status.signal === SIGSYS ? " (bad system call)" : ""} ${took}`;
  throw new TsrunError(`${what}: ${end}${printed(stdout, stderr)}`);
}

/** What a hook printed, so much as was kept of it. @throws SyscallError */
function keepOutput(result: Captured, annotations: StateRecord["annotations"]): void {
  for (const stream of ["stdout", "stderr"] as const) {
    const file = annotations[HOOK_OUTPUT[stream]];
    if (file) appendFileSync(file, result[stream], { mode: 0o600 });
  }
}

function printed(stdout: string, stderr: string): string {
  const quoted = (name: string, text: string) => (text === "" ? "" : `, ${name}: ${JSON.stringify(text.trimEnd())}`);
  return quoted("stdout", stdout) + quoted("stderr", stderr);
}

interface StartRequest {
  hook: Hook;
  about: string;
  stage: HookStage;
  record: StateRecord;
  stdio: [number, number, number];
  inside: Inside | undefined;
}

function startOutside({ hook, record, stdio }: StartRequest): number {
  return posixSpawn({
    path: hook.path,
    argv: hook.args?.length ? hook.args : [hook.path],
    envp: hook.env ?? ownEnvironment(),
    fds: stdio.map((from, to) => ({ from, to })),
    // Who deletes a container may have removed its bundle before.
    cwd: existsSync(record.bundle) ? record.bundle : "/",
  });
}

/** As under runc and crun, a hook that names no environment has the runtime's. */
export function ownEnvironment(): string[] {
  return readFileSync("/proc/self/environ").split("\0").slice(0, -1);
}

/** Through the native init: a JavaScript engine has threads, and could not join the namespaces itself. */
function startInside(request: StartRequest): number {
  const { hook, about, stage, record, stdio, inside } = request;
  const { pid, namespaces, setupIds, setgroups } = record;
  const plan = planHook({
    hook: { ...hook, env: hook.env ?? [...(inside?.env ?? [])] },
    about,
    namespaces: foreignNamespaces(pid, namespaces),
    changesRoot: record.rootPlace !== undefined,
    setupIds,
    setgroups,
    // As under runc: the root is not changed yet, and hooks name what is in it by relative paths.
    cwd: stage === "createContainer" ? (record.rootPlace ?? record.rootfs) : "/",
    seccomp: stage === "startContainer" ? inside?.seccomp : undefined,
  });
  const fds = new Map([["container", pidfdOpen(pid)]]);
  try {
    if (record.rootPlace) fds.set("root", openRoot(record));
    const init = spawnInit({ plan, fds, preserved: 0, stdio });
    using sync = init.sync;
    const speaker = { pid: 0, stops: 0 };
    try {
      for (;;) {
        const message = nextMessage(sync, speaker);
        if (message.type === "pid") {
          speaker.pid = message.pid;
          waitid({ pid: init.pid });
        } else if (message.type === "fail") {
          throw stepFailure(plan, message.step, message.code);
        } else if (message.type === "fd") {
          using listener = new Fd(message.fd);
          inside?.onListener?.(listener.fd, speaker.pid);
        } else if (message.type === "await") {
          sync.answer();
        } else {
          return speaker.pid || init.pid;
        }
      }
    } catch (error) {
      end(speaker.pid || init.pid);
      throw error;
    }
  } finally {
    fds.forEach(closeQuiet);
  }
}
