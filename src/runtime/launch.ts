/**
 * From a bundle to a process that is ready to be executed: what `create` and `run` have in common.
 *
 * The order is what makes it safe to be killed at any point: the state names what is about to be made before it is
 * made, and the init ends by itself when its socket closes.
 */
import { createCgroup, createScope, destroyCgroup, joinFds, settleScope } from "../cgroup/manager.ts";
import { planCgroup } from "../cgroup/plan.ts";
import { TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { CLONE_NEWUSER } from "../linux.ts";
import { debug, isDebugging, warn } from "../log.ts";
import { entersCgroupFirst } from "../plan/namespaces.ts";
import { planContainer } from "../plan/order.ts";
import type { Plan } from "../plan/step.ts";
import type { ContainerSpec, JoinedNamespace } from "../spec/container.ts";
import { pidfdReceiver } from "../spec/crun.ts";
import type { NetworkProgram } from "../spec/network.ts";
import type { Hooks } from "../spec/types.ts";
import { rootfsDirectories } from "../storage/mount.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { O_CLOEXEC, O_PATH, O_RDONLY, O_WRONLY } from "../sys/constants.ts";
import { closeQuiet, open, setCloexec } from "../sys/file.ts";
import { unixListen } from "../sys/socket.ts";
import { converse } from "./converse.ts";
import { endContainer } from "./end.ts";
import { openFarSource } from "./far-sources.ts";
import { firstRecord } from "./first-record.ts";
import { homeDirectory, homeInLayers, homeInMounts } from "./home.ts";
import { runHooks, runHooksAnyhow } from "./hooks.ts";
import { mapIds } from "./idmap.ts";
import { openIdmapped } from "./idmapped.ts";
import { insideOverlay, isMountedInside } from "./inside.ts";
import { fuseProgram, mountFuse } from "./inside-fuse.ts";
import { createRdt, joinRdt, planRdt, removeRdt } from "./intel-rdt.ts";
import { makeRootfs, mountLayers } from "./layers.ts";
import { processStat } from "./lifecycle.ts";
import { NetDevices } from "./net-devices.ts";
import { makeNotifyDirectory, openNotifyTree, Readiness } from "./notify.ts";
import type { CreateOptions } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { thawForgotten } from "./pause.ts";
import { cgroupRequest, type Loaded, listenFdsOf, loadContainer, planParameters } from "./prepare.ts";
import { checkPreserved } from "./preserved.ts";
import { endProgram } from "./program-record.ts";
import { removeState } from "./remove-state.ts";
import { makeRootPlace } from "./root-place.ts";
import { handOverListener } from "./seccomp.ts";
import { StateDirectory, type StateRecord } from "./state.ts";
import { checkTerminal, inheritTerminalSize } from "./terminal.ts";
import { Undo } from "./undo.ts";
import { networkProgram, startNetwork } from "./user-network.ts";
import { callWitness, type Witness } from "./witness.ts";

export interface Launched {
  container: ContainerSpec;
  state: StateDirectory;
  record: StateRecord;
  /** The master of the container's terminal, when it was not sent to a console socket. */
  master: number | undefined;
  /** Somebody waits for the container to be ready; to be disposed of. */
  readiness: Readiness | undefined;
  /** In the foreground: to be disposed of. */
  witness: Witness | undefined;
}

export type LaunchedSoFar = Pick<Launched, "container" | "state" | "record">;

export interface LaunchOptions extends CreateOptions {
  id: string;
  /** Wait for `start` before the process is executed? */
  waitForStart: boolean;
  /** Called while the container's process sets itself up: what need not be done before costs no time here. */
  meanwhile?: ((launched: LaunchedSoFar) => void) | undefined;
  /** This process becomes the monitor: signals that come from the process's start on are for that one. */
  foreground?: boolean | undefined;
}

/** Makes the container, up to its process waiting for `start` or, for `run`, being executed. @throws TsrunError */
export function launch(options: LaunchOptions): Launched {
  checkPreserved((options.preserveFds ?? 0) + listenFdsOf(process.env, process.pid));
  const loaded = loadContainer(options);
  const { container } = loaded;
  checkTerminal(container.spec.process, options);
  for (const { path, message } of container.warnings) warn(`${path}: ${message}`);
  if (container.network) networkProgram(container.network);
  if (container.rootfs.driver === "fuse-overlayfs") fuseProgram();
  if (options.foreground) inheritTerminalSize(container.spec.process);
  const rdt = planRdt(container.id, container.spec.linux?.intelRdt);
  const state = new StateDirectory(stateRoot(options.root), container.id);
  using _lock = state.create();
  // Before what undoes: it brings devices back by what is open here.
  using netDevices = new NetDevices();
  using undo = new Undo();
  undo.addRecord(() => removeState(state));
  const record = firstRecord(container, loaded);
  if (rdt) record.intelRdt = rdt;
  if (container.hostMounts) record.rootPlace = makeRootPlace(state);
  const request = cgroupRequest(loaded);
  // What is about to be made, first: should we be killed meanwhile, delete knows where to look.
  record.cgroup = planCgroup(request);
  state.write(record);

  record.overlay = makeRootfs(container, state, options, undo);
  if (record.overlay) {
    container.rootfs.path = record.overlay.merged;
    record.rootfs = record.overlay.merged;
    state.write(record);
  }
  if (request.systemd === undefined) record.cgroup = createCgroup({ ...request, warn });
  undo.add(() => record.cgroup && destroyCgroup(record.cgroup));
  if (rdt) {
    undo.add(() => removeRdt(rdt));
    createRdt(rdt, container.spec.linux?.intelRdt ?? {});
  }

  const notify = options.notifySocket === undefined ? undefined : openNotify(state, options.notifySocket, options);
  if (notify?.readiness) undo.add(() => notify.readiness?.[Symbol.dispose]());
  const fds = new Map<string, number>();
  using _fds = { [Symbol.dispose]: () => closeAll(fds.values()) };
  openInherited(fds, loaded, record, options, state);
  if (notify && container.host.privileged) fds.set("notify", openNotifyTree(notify.directory));
  const inside = record.overlay && isMountedInside(container) ? record.overlay : undefined;
  const parameters = planParameters(loaded, record.cgroup, {
    rootMounted: record.overlay !== undefined && inside === undefined,
    overlay: inside && insideOverlay(inside, container),
    waitForStart: options.waitForStart,
    rootPlace: record.rootPlace,
    notifyDirectory: notify?.directory,
    home: homeOf(container, fds.get("rootfs"), inside),
  });
  const { seccomp } = parameters;
  const plan = planContainer(container, parameters);
  if (options.waitForStart) record.lateSteps = lateSteps(plan);
  const preserved = (container.options.preserveFds ?? 0) + (container.options.listenFds ?? 0);
  const init = spawnInit({ plan, fds, preserved, stdio: options.stdio });
  using _sync = init.sync;
  if (isDebugging()) debug(`nsexec container setup: process ${init.pid} has a plan of ${plan.steps.length} steps`);
  const { consoleSocket, pidFile, pidfdSocket, foreground, waitForStart } = options;
  const { hooks } = container.spec;
  const onListener = (fd: number, pid: number) =>
    handOverListener(fd, { spec: container.spec, record, status: "creating", pid });
  const hookProcess = { seccomp, env: container.spec.process.env, onListener };
  // What is made from here on may be known to hooks: they are told of its end.
  if (record.hooks?.includes("poststop")) undo.add(() => runHooksAnyhow(hooks, "poststop", record));
  // Where /proc hides the processes of others, this one is seen from when it may be given its ids: until then it is root's.
  const isHidden = container.host.euid !== 0 && (container.namespaces.create & CLONE_NEWUSER) !== 0;
  let opened = 0;
  let witness: Witness | undefined;
  const { master } = converse({
    init,
    plan,
    consoleSocket,
    pidFile,
    pidfdSocket: pidfdSocket ?? pidfdReceiver(container.spec.annotations),
    foreground,
    waitForStart,
    onCgroup: () => {
      if (record.cgroup) record.cgroup = createScope({ ...request, warn }, record.cgroup, init.pid);
    },
    onPid: (pid) => {
      if (request.systemd && record.cgroup) settleScope(request, record.cgroup);
      debug(`child process in init(): ${pid}`);
      record.pid = pid;
      if (!isHidden) recordStart(record);
      if (rdt) joinRdt(rdt, pid);
      witness = callWitness(state, record);
      if (!foreground) witness?.[Symbol.dispose]();
      state.writeConfig(loaded.text);
      options.meanwhile?.({ container, state, record });
    },
    onIdMaps: () => {
      if (isHidden) recordStart(record);
      mapIds(record.pid, container);
      if (inside?.driver === "fuse-overlayfs") mountProgram(inside, state, record, undo);
      if (container.network) connect(container.network, state, record, undo);
    },
    onNetDevices: () => {
      undo.add(() => netDevices.back());
      netDevices.move(record.pid, container.spec.linux?.netDevices ?? {});
    },
    onSource: () => {
      const i = parameters.farSources[opened++] ?? -1;
      return openFarSource(record.pid, container.spec.mounts?.[i] ?? { destination: "" }, i);
    },
    onCreateHooks: () => {
      // Hooks may ask for the state.
      state.write(record);
      for (const stage of ["prestart", "createRuntime", "createContainer"] as const) {
        runHooks(hooks, stage, record, hookProcess);
      }
    },
    onStartHooks: () => runHooks(hooks, "startContainer", record, hookProcess),
    onListener,
    onSilence: () => thawForgotten(record),
    onReady: () => {
      record.phase = waitForStart ? "created" : "running";
      state.write(record);
      debug("init: closing the pipe to signal completion");
    },
  });
  if (!waitForStart && record.hooks?.includes("poststart")) runPoststart(hooks, record);
  undo.keep();
  return { container, state, record, master, readiness: notify?.readiness, witness };
}

function recordStart(record: StateRecord): void {
  record.startTime = processStat(record.pid)?.startTime ?? 0;
}

/** The socket itself is for who lets the process run. */
function openNotify(state: StateDirectory, address: string, { waitForStart }: LaunchOptions) {
  const directory = makeNotifyDirectory(state);
  return { directory, readiness: waitForStart ? undefined : Readiness.open(state, address) };
}

/** While the process waits for its ids it can be entered; later it cannot, as it holds descriptors of the host. */
function connect(program: NetworkProgram, state: StateDirectory, record: StateRecord, undo: Undo): void {
  undo.add(() => record.network && endProgram(record.network));
  startNetwork({
    program,
    pid: record.pid,
    pidFile: state.temporaryFile,
    onStarted: (started) => {
      record.network = started;
      state.write(record);
    },
  });
}

/** As connect: the file system of layers that a program makes. */
function mountProgram(overlay: RootfsRecord, state: StateDirectory, record: StateRecord, undo: Undo): void {
  undo.add(() => record.fuse && endProgram(record.fuse));
  mountFuse(overlay, record.pid, (started) => {
    record.fuse = started;
    state.write(record);
  });
}

/** What failed here has a process that runs by now, and ends with it. */
function runPoststart(hooks: Hooks | undefined, record: StateRecord): void {
  try {
    runHooks(hooks, "poststart", record);
  } catch (error) {
    endContainer(record);
    throw error;
  }
}

function closeAll(fds: Iterable<number>): void {
  for (const fd of fds) closeQuiet(fd);
}

function lateSteps({ steps }: Plan): StateRecord["lateSteps"] {
  const first = steps.findIndex(({ op }) => op === "awaitStart") + 1;
  return steps.slice(first).map(({ op, about }, i) => ({ index: first + i, op, about }));
}

/** Opens what the plan will name; all close-on-exec here. */
function openInherited(
  fds: Map<string, number>,
  loaded: Loaded,
  record: StateRecord,
  options: LaunchOptions,
  state: StateDirectory,
): void {
  const { container } = loaded;
  for (const join of container.namespaces.join) {
    fds.set(`ns:${join.type}`, openNamespace(join));
  }
  if (record.overlay && !isMountedInside(container)) {
    fds.set("rootfs", mountLayers(record.overlay, container, fds.get("ns:user")));
  }
  for (const join of record.cgroup ? joinFds(record.cgroup) : []) {
    if (join.kind === "directory" && (join.isReused || entersCgroupFirst(container))) {
      fds.set("cgroup:procs", open(`${join.path}/cgroup.procs`, O_WRONLY | O_CLOEXEC));
    } else if (join.kind === "directory") fds.set("cgroup", open(join.path, O_PATH | O_CLOEXEC));
    else fds.set(`tasks:${join.name}`, open(join.path, O_WRONLY | O_CLOEXEC));
  }
  openIdmapped(container.spec, fds);
  if (options.waitForStart) fds.set("start", unixListen(state.startSocket));
  const preserved = (container.options.preserveFds ?? 0) + (container.options.listenFds ?? 0);
  // The monitor has no use for them, and would keep them open.
  for (let fd = 3; fd < 3 + preserved; fd++) setCloexec(fd, true);
}

export function openNamespace({ type, path }: JoinedNamespace): number {
  try {
    return open(path, O_RDONLY | O_CLOEXEC);
  } catch (cause) {
    throw new TsrunError(`linux.namespaces ${type}`, { cause, fix: "has the process it belonged to ended?" });
  }
}

function homeOf(
  container: ContainerSpec,
  rootFd: number | undefined,
  inside: RootfsRecord | undefined,
): string | undefined {
  const { process } = container.spec;
  if (process.env.some((entry) => entry.startsWith("HOME=") && entry.length > 5)) return undefined;
  const bound = homeInMounts(container.spec.mounts, process.user.uid);
  if (bound !== undefined) return bound;
  if (inside) return homeInLayers(rootfsDirectories(inside), process.user.uid);
  if (rootFd !== undefined) return homeDirectory(rootFd, process.user.uid);
  const fd = open(container.rootfs.path, O_PATH | O_CLOEXEC);
  try {
    return homeDirectory(fd, process.user.uid);
  } finally {
    closeQuiet(fd);
  }
}
