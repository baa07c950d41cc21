/** `exec`: another process in a container that runs. Rules: runc-exec(8); exec is not in the OCI spec. */
import { areFrozen, execCgroups } from "../cgroup/exec.ts";
import { detectCgroups, joinFds } from "../cgroup/manager.ts";
import { SpecError, StateError, TsrunError } from "../errors.ts";
import { type Host, hostFacts } from "../host.ts";
import { becomeMonitor, untilEnd } from "../init/monitor.ts";
import { spawnInit } from "../init/spawn.ts";
import { debug, flushLog, isDebugging, warn } from "../log.ts";
import { planExec } from "../plan/exec.ts";
import { availableCapabilities } from "../plan/process.ts";
import type { ResolvedProcess } from "../spec/container.ts";
import { keepsGroups } from "../spec/crun.ts";
import { processProblems } from "../spec/host-checks.ts";
import { loadProcess } from "../spec/load.ts";
import { resolveProcess } from "../spec/resolve.ts";
import { unmappedIds } from "../spec/rules/mappings.ts";
import type { Process, Spec } from "../spec/types.ts";
import { parseUser } from "../spec/user.ts";
import { inspectProcess } from "../spec/validate.ts";
import { O_CLOEXEC, O_PATH, O_WRONLY } from "../sys/constants.ts";
import { closeQuiet, open } from "../sys/file.ts";
import { pidfdOpen } from "../sys/process.ts";
import { awaitExeced, leaveExeced } from "./children.ts";
import { converse } from "./converse.ts";
import { homeDirectory } from "./home.ts";
import { joinRdt } from "./intel-rdt.ts";
import { isAlive, statusOf } from "./lifecycle.ts";
import { foreignNamespaces } from "./namespaces.ts";
import type { ExecOptions, ExecResult } from "./options.ts";
import { absolutePath, stateRoot } from "./paths.ts";
import { checkPreserved } from "./preserved.ts";
import { openRecorded } from "./recorded.ts";
import { openRoot } from "./root-place.ts";
import { compiledSeccomp, handOverListener } from "./seccomp.ts";
import { readConfig, StateDirectory, type StateRecord } from "./state.ts";
import { checkTerminal, inheritTerminalSize } from "./terminal.ts";

/**
 * `tsrun exec`. Detached, it returns once the process is executed; in the foreground the calling process is
 * replaced by the native monitor.
 *
 * @throws StateError when the container does not run; SpecError, StepError
 */
export function execInForeground(options: ExecOptions): ExecResult {
  const { pid, master } = launchExec(options, !options.detach);
  if (options.detach) return { id: options.id, pid };
  flushLog();
  becomeMonitor({ pid, pidFd: pidfdOpen(pid), master: master ?? -1, cleanup: [] });
}

/**
 * Runs a process in a container, inside a program that goes on meanwhile; resolves when it has ended, detached when it
 * is executed. Its exit code is 128 and the signal where one ended it.
 *
 * @throws MissingError; StateError when the container does not run, or is paused; SpecError for the process; StepError when
 *   it could not be executed
 */
export async function execProcess(options: ExecOptions): Promise<ExecResult> {
  const { pid } = launchExec(options);
  if (options.detach) {
    leaveExeced(pid);
    return { id: options.id, pid };
  }
  const { exitCode } = await awaitExeced(pid, (pidFd) => untilEnd(pid, pidFd));
  return { id: options.id, pid, exitCode };
}

function launchExec(options: ExecOptions, foreground = false): { pid: number; master: number | undefined } {
  checkPreserved(options.preserveFds ?? 0);
  refuseBoth(options);
  const state = new StateDirectory(stateRoot(options.root), options.id);
  const record = state.read();
  checkStatus(record, options);
  const config = readConfig(state);
  const hierarchies = detectCgroups();
  const host = hostFacts(hierarchies.layout);
  const process = checkedProcess(options, config, record, host);
  checkTerminal(process, { consoleSocket: options.consoleSocket, foreground });
  if (foreground) inheritTerminalSize(process);

  const fds = new Map<string, number>();
  using _fds = { [Symbol.dispose]: () => fds.forEach(closeQuiet) };
  fds.set("container", openContainer(record));
  if (record.rootPlace) fds.set("root", openRoot(record));
  // Its root was looked up by pid.
  if (!isAlive(record.pid, record.startTime)) throw new StateError("cannot exec in a stopped container");
  const paths = record.cgroup ? execCgroups(record.cgroup, record.pid, hierarchies, options.cgroup) : {};
  const joins = joinFds({ paths, made: record.cgroup?.systemd ? undefined : record.cgroup?.made });
  for (const join of joins) {
    // Into a user namespace that is joined nobody may clone with a cgroup: the process writes itself in.
    if (join.kind === "directory" && (record.userns || join.isReused))
      fds.set("tasks:unified", open(`${join.path}/cgroup.procs`, O_WRONLY | O_CLOEXEC));
    else if (join.kind === "directory") fds.set("cgroup", open(join.path, O_PATH | O_CLOEXEC));
    else fds.set(`tasks:${join.name}`, open(join.path, O_WRONLY | O_CLOEXEC));
  }
  const seccomp = config.linux?.seccomp;
  const plan = planExec({
    id: options.id,
    process,
    namespaces: foreignNamespaces(record.pid, record.namespaces),
    changesRoot: record.rootPlace !== undefined,
    cgroupDirectory: fds.has("cgroup"),
    cgroupTasks: [...fds.keys()].filter((name) => name.startsWith("tasks:")).map((name) => name.slice(6)),
    setgroups: record.setgroups,
    setupIds: record.setupIds,
    host,
    preserveFds: options.preserveFds ?? 0,
    noNewKeyring: record.noNewKeyring,
    home: homeOf(record, process),
    available: availableCapabilities(host, record.userns),
    personality: config.linux?.personality,
    memoryPolicy: config.linux?.memoryPolicy,
    seccomp: compiledSeccomp(seccomp),
  });
  const init = spawnInit({ plan, fds, preserved: options.preserveFds ?? 0, stdio: options.stdio });
  using _sync = init.sync;
  if (isDebugging()) debug(`nsexec container setup: process ${init.pid} has a plan of ${plan.steps.length} steps`);
  const { consoleSocket, pidFile, pidfdSocket } = options;
  const onPid = (pid: number) => {
    if (record.intelRdt) joinRdt(record.intelRdt, pid);
    debug(`child process in init(): ${pid}; setns_init: about to exec`);
  };
  const onListener = (fd: number, pid: number) =>
    handOverListener(fd, { spec: config, record, status: statusOf(record), pid });
  const onSilence = () => {
    if (!options.ignorePaused && areFrozen(paths)) throw pausedMeanwhile();
  };
  return converse({ init, plan, consoleSocket, pidFile, pidfdSocket, foreground, onPid, onListener, onSilence });
}

/** What a process file says is not said again. A terminal is: podman does. */
const PROCESS_OPTIONS = [
  "args",
  "cwd",
  "env",
  "user",
  "additionalGids",
  "caps",
  "noNewPrivs",
  "apparmor",
  "processLabel",
] as const;

function refuseBoth(options: ExecOptions): void {
  if (options.process === undefined) return;
  const both = PROCESS_OPTIONS.filter((name) => options[name] !== undefined);
  if (both.length === 0) return;
  throw new TsrunError(`a process file and ${both.join(", ")} exclude each other`, {
    fix: `put it into ${options.process}`,
  });
}

/** @throws StateError when it has ended since its state was read */
function openContainer(record: StateRecord): number {
  const held = openRecorded(record);
  if (held === undefined) throw new StateError("cannot exec in a stopped container");
  return held.release();
}

/** `exec` takes no lock, so that `pause` can come between the look at the status and the process. */
function pausedMeanwhile(): StateError {
  return new StateError("cannot exec in a paused container: its cgroup was frozen before the process was executed", {
    fix: "resume it first, or use --ignore-paused",
  });
}

function checkStatus(record: StateRecord, options: ExecOptions): void {
  const status = statusOf(record);
  if (status === "stopped") throw new StateError("cannot exec in a stopped container");
  if (status === "creating") throw new StateError("cannot exec in a container that is creating");
  if (status === "paused" && !options.ignorePaused) {
    throw new StateError("cannot exec in a paused container", { fix: "use --ignore-paused" });
  }
}

/** The process of the file, or the container's own with what the options change. @throws SpecError */
function checkedProcess(options: ExecOptions, config: Spec, record: StateRecord, host: Host): ResolvedProcess {
  const file = options.process;
  const asked = file === undefined ? fromOptions(options, config) : loadProcess(absolutePath(file));
  if (options.tty !== undefined) asked.terminal = options.tty;
  const { problems, warnings, process: read } = inspectProcess(asked);
  const process = file === undefined ? read : withInherited(read, config);
  problems.push(...processProblems(process, record.userns, host));
  if (record.userns) problems.push(...unmappedIds(process.user, config.linux ?? {}));
  if (problems.length > 0) throw new SpecError(problems, { of: file ?? "the process" });
  const resolved = resolveProcess(process, host, warnings);
  if (keepsGroups(config.annotations)) delete resolved.user?.additionalGids;
  for (const { path, message } of warnings) warn(`${path}: ${message}`);
  return resolved;
}

/**
 * Capabilities and limits that the file does not speak of are those of the container's own process: capabilities as
 * under runc, and limits because those of the caller would let a process out of what its container is held to.
 */
function withInherited(process: Process, config: Spec): Process {
  return {
    ...process,
    ...(config.process?.capabilities && { capabilities: process.capabilities ?? config.process.capabilities }),
    ...(config.process?.rlimits && { rlimits: process.rlimits ?? config.process.rlimits }),
  };
}

function fromOptions(options: ExecOptions, config: Spec): Process {
  const base: Process = config.process ?? { cwd: "/", user: { uid: 0, gid: 0 } };
  const process: Process = { ...base, args: [...(options.args ?? [])], terminal: options.tty ?? false };
  if (options.cwd !== undefined) process.cwd = options.cwd;
  if (options.env) process.env = withVariables(base.env ?? [], options.env);
  if (options.user !== undefined) {
    const { uid, gid } = parseUser(options.user);
    process.user = { ...base.user, uid, gid: gid ?? base.user?.gid ?? 0 };
  }
  if (options.additionalGids) {
    process.user = {
      ...process.user,
      additionalGids: [...(process.user?.additionalGids ?? []), ...options.additionalGids],
    };
  }
  if (options.noNewPrivs !== undefined) process.noNewPrivileges = options.noNewPrivs;
  if (options.apparmor !== undefined) process.apparmorProfile = options.apparmor;
  if (options.processLabel !== undefined) process.selinuxLabel = options.processLabel;
  if (options.caps && options.caps.length > 0) {
    const add = (names: string[] | undefined) => [...new Set([...(names ?? []), ...(options.caps ?? [])])];
    const sets = base.capabilities ?? {};
    process.capabilities = {
      ...sets,
      bounding: add(sets.bounding),
      effective: add(sets.effective),
      permitted: add(sets.permitted),
      // Ambient only where the container has an inheritable set: otherwise it could not be.
      ...(sets.inheritable ? { ambient: add(sets.ambient) } : {}),
    };
  }
  return process;
}

/** What is added takes the place of what has its name: programs differ in which of two they take. */
function withVariables(env: readonly string[], added: readonly string[]): string[] {
  const nameOf = (entry: string) => entry.split("=", 1)[0];
  const names = new Set(added.map(nameOf));
  const last = added.filter((entry, i) => !added.slice(i + 1).some((later) => nameOf(later) === nameOf(entry)));
  return [...env.filter((entry) => !names.has(nameOf(entry))), ...last];
}

function homeOf(record: StateRecord, process: ResolvedProcess): string | undefined {
  if (process.env.some((entry) => entry.startsWith("HOME=") && entry.length > 5)) return undefined;
  const fd = open(`/proc/${record.pid}/root`, O_PATH | O_CLOEXEC);
  try {
    return homeDirectory(fd, process.user.uid);
  } finally {
    closeQuiet(fd);
  }
}
