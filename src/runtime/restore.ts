/**
 * The way of a container out of files: made as `create` makes it, up to its processes, which criu makes. As under runc
 * and crun its prestart and createRuntime hooks run, when its namespaces are there; later stages are the container's past.
 */

import { type CgroupLine, parseCgroupFile } from "../cgroup/hierarchies.ts";
import { createCgroup, createScope, destroyCgroup, joinFds, limitRestored, settleScope } from "../cgroup/manager.ts";
import { planCgroup } from "../cgroup/plan.ts";
import type { CgroupRequest } from "../cgroup/record.ts";
import { checkMadeAnew, refuseAnew, vacateCgroup } from "../cgroup/vacate.ts";
import { inheritedStdio, isOutsideTerminal, NULL, restoredMounts } from "../criu/external.ts";
import { RESTORE_LOG, restoreRequest } from "../criu/requests.ts";
import { SpecError, TsrunError } from "../errors.ts";
import { sendConsole } from "../io/console.ts";
import { warn } from "../log.ts";
import { resolve } from "../path.ts";
import { type RestorePlanRequest, rootIn } from "../plan/criu.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { restoredLabelProblems } from "../spec/host-checks.ts";
import { copyTree } from "../storage/copy-tree.ts";
import { overlayDir } from "../storage/layout.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY, O_RDWR, O_WRONLY } from "../sys/constants.ts";
import { closeQuiet, dup, Fd, open } from "../sys/file.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import { blockSignals, isTerminal, setTerminalSize, terminalSize } from "../sys/process.ts";
import { checkRoot, Directories, runCriu } from "./criu.ts";
import { DESCRIPTORS, RW_LAYER, STDIO } from "./dump.ts";
import { endContainer } from "./end.ts";
import { firstRecord } from "./first-record.ts";
import { runHooks, runHooksAnyhow } from "./hooks.ts";
import { openIdmapped } from "./idmapped.ts";
import { createRdt, joinRdt, planRdt, removeRdt } from "./intel-rdt.ts";
import { type Launched, openNamespace } from "./launch.ts";
import { makeRootfs, mountLayers } from "./layers.ts";
import { processStat } from "./lifecycle.ts";
import type { RestoreOptions } from "./options.ts";
import { mountTargets, refuseSharedMounts, restoredNamespaces, restoredSources } from "./outside.ts";
import { absolutePath, stateRoot } from "./paths.ts";
import { writePidFile } from "./pid-file.ts";
import { cgroupRequest, type Loaded, loadContainer } from "./prepare.ts";
import { removeState } from "./remove-state.ts";
import { StateDirectory, type StateRecord } from "./state.ts";
import { checkTerminal } from "./terminal.ts";
import { Undo } from "./undo.ts";
import { callWitness } from "./witness.ts";

/** Its first process is a child of this one. @throws SpecError, StateError, TsrunError; nothing is left behind then */
export function restore(options: RestoreOptions): Launched {
  checkRoot("restore");
  const imagePath = absolutePath(options.imagePath);
  using directories = new Directories(imagePath, options.workPath);
  const loaded = loadContainer(options);
  const { container } = loaded;
  const problems = restoredLabelProblems(options, container.host);
  if (problems.length > 0) throw new SpecError(problems);
  refuseSharedMounts(container.spec);
  const foreground = !options.detach;
  checkTerminal(container.spec.process, { consoleSocket: options.consoleSocket, foreground });
  const inherited = [...inheritedStdio(keptStdio(imagePath))];
  const terminals = terminalsFor(inherited, options);
  for (const { path, message } of container.warnings) warn(`${path}: ${message}`);
  const rdt = planRdt(container.id, container.spec.linux?.intelRdt);
  const request = cgroupRequest(loaded);
  const isStrict = options.manageCgroupsMode === "strict";
  if (isStrict) refuseAnew(request);
  const state = new StateDirectory(stateRoot(options.root), container.id);
  using _lock = state.create();
  using undo = new Undo();
  undo.addRecord(() => removeState(state));
  const record = firstRecord(container, loaded);
  if (rdt) record.intelRdt = rdt;
  record.cgroup = planCgroup(request);
  state.write(record);
  state.writeConfig(loaded.text);

  record.overlay = makeRootfs(container, state, { foreground: false }, undo);
  if (record.overlay) {
    container.rootfs.path = record.overlay.merged;
    record.rootfs = record.overlay.merged;
    state.write(record);
    fillLayer(record.overlay, imagePath);
  }
  if (request.systemd === undefined) record.cgroup = createCgroup({ ...request, warn });
  undo.add(() => record.cgroup && destroyCgroup(record.cgroup, { kill: true }));
  const vacated = isStrict ? vacateCgroup(record.cgroup, loaded.hierarchies) : undefined;
  if (rdt) {
    undo.add(() => removeRdt(rdt));
    createRdt(rdt, container.spec.linux?.intelRdt ?? {});
  }
  undo.add(() => record.pid !== 0 && endContainer(record));
  if (record.hooks?.includes("poststop")) {
    undo.add(() => runHooksAnyhow(container.spec.hooks, "poststop", record));
  }
  const sizes = terminals.map((fd) => ({ fd, size: terminalSize(fd) }));
  const place = { state, record, directories, imagePath, request, vacated, inherited, sizes };
  const master = runRestore(options, loaded, place);
  record.phase = "running";
  state.write(record);
  const witness = callWitness(state, record);
  if (!foreground) witness?.[Symbol.dispose]();
  const { consoleSocket, pidFile } = options;
  if (master !== undefined && consoleSocket) {
    sendConsole(absolutePath(consoleSocket), master);
    closeQuiet(master);
  }
  if (pidFile) writePidFile(absolutePath(pidFile), record.pid);
  if (foreground) blockSignals();
  undo.keep();
  return { container, state, record, master: consoleSocket ? undefined : master, readiness: undefined, witness };
}

/** What the container had written, when it went into the images; a named layer is still there. */
function fillLayer({ storageRoot, mountId, named }: RootfsRecord, imagePath: string): void {
  if (named || !existsSync(`${imagePath}/${RW_LAYER}`)) return;
  using from = new Fd(open(`${imagePath}/${RW_LAYER}`, O_RDONLY | O_DIRECTORY));
  using to = new Fd(open(`${overlayDir(storageRoot)}/${mountId}/diff`, O_RDONLY | O_DIRECTORY));
  copyTree(from.fd, to.fd);
}

/** What takes the place of descriptors that led outside, by criu's names. */
type Inherited = readonly (readonly [name: string, fd: number | typeof NULL])[];

interface Place {
  state: StateDirectory;
  record: StateRecord;
  directories: Directories;
  imagePath: string;
  request: CgroupRequest;
  /** The cgroups that criu is to make. */
  vacated: CgroupLine[] | undefined;
  inherited: Inherited;
  /** Of terminals among these. */
  sizes: readonly { fd: number; size: ReturnType<typeof terminalSize> }[];
}

/** @returns the master of its terminal */
function runRestore(options: RestoreOptions, loaded: Loaded, at: Place): number | undefined {
  const { state, record, directories, imagePath, request, vacated, inherited, sizes } = at;
  const { container, hierarchies } = loaded;
  const { spec } = container;
  const { byDescriptor, byPath } = restoredNamespaces(spec);
  const fds = new Map<string, number>();
  using _fds = { [Symbol.dispose]: () => fds.forEach(closeQuiet) };
  const plan = openForRestore(fds, container, record, state.path, vacated === undefined);
  // Copies: what criu is given it closes in the end, and with --shell-job it needs its own standard input.
  for (const [, fd] of inherited) {
    if (fds.has(`stdio:${fd}`)) continue;
    fds.set(`stdio:${fd}`, fd === NULL ? open("/dev/null", O_RDWR | O_CLOEXEC) : dup(options.stdio?.[fd] ?? fd));
  }
  let master: number | undefined;
  const response = runCriu({
    program: options.criu,
    plan: {
      kept: [...byDescriptor.map(({ type }) => `ns:${type}`), ...new Set(inherited.map(([, fd]) => `stdio:${fd}`))],
      restore: plan,
    },
    fds,
    stdio: options.stdio,
    onCgroup: (pid) => {
      if (record.cgroup) record.cgroup = createScope({ ...request, warn }, record.cgroup, pid);
    },
    request: ({ pid, numbers }) => {
      // What criu makes is where criu is.
      if (record.intelRdt) joinRdt(record.intelRdt, pid);
      const sources = restoredSources(spec, record.namespaces, record.cgroup, hierarchies, state.path);
      const { images, work } = directories.seenBy(pid);
      fds.set("images", images).set("work", work);
      return restoreRequest(options, {
        imagesDirFd: images,
        workDirFd: work,
        configFile: spec.annotations?.["org.criu.config"],
        root: rootIn(state.path),
        external: restoredMounts(sources),
        inheritFds: [
          ...inherited.map(([key, fd]) => ({ key, fd: numbers.get(`stdio:${fd}`) ?? -1 })),
          ...byDescriptor.map(({ type, key }) => ({ key, fd: numbers.get(`ns:${type}`) ?? -1 })),
        ],
        joinNamespaces: byPath,
        cgroupRoots: cgroupRoots(vacated ?? parseCgroupFile(readFileSync(`/proc/${pid}/cgroup`))),
      });
    },
    onNotice: ({ script, pid, fds: received }) => {
      if (pid !== 0) record.pid = pid;
      if (script === "orphan-pts-master" && master === undefined) master = received[0];
      for (const fd of received) if (fd !== master) closeQuiet(fd);
      // criu has given terminals the size of those before, and no process runs yet.
      if (script === "pre-resume") for (const { fd, size } of sizes) if (size) setTerminalSize(fd, size);
      if (script !== "setup-namespaces") return;
      if (vacated && record.cgroup) {
        checkMadeAnew(record.cgroup);
        record.cgroup = limitRestored({ ...request, warn }, record.cgroup);
      }
      runCreateHooks(container, state, record);
    },
    // The first process of a pid namespace ends after all others, which criu traces, and criu waits for the first.
    isLost: () => record.pid !== 0 && isEnding(record.pid),
    what: "restore the container",
    log: resolve(options.workPath ?? imagePath, RESTORE_LOG),
  });
  if (request.systemd && record.cgroup) settleScope(request, record.cgroup);
  record.pid = response.restore?.pid ?? record.pid;
  record.startTime = processStat(record.pid)?.startTime ?? 0;
  if (record.startTime === 0) throw new TsrunError("the container's process has ended as soon as it was restored");
  return master;
}

/** PF_EXITING of the kernel's include/linux/sched.h, among the flags of proc_pid_stat(5). */
const PF_EXITING = 4;

function isEnding(pid: number): boolean {
  const stat = processStat(pid);
  return stat === undefined || (Number(stat.fields[6]) & PF_EXITING) !== 0;
}

function runCreateHooks({ spec: { hooks } }: ContainerSpec, state: StateDirectory, record: StateRecord): void {
  record.startTime = processStat(record.pid)?.startTime ?? 0;
  // Hooks may ask for the state; and should we be killed, delete knows whom to end.
  state.write(record);
  for (const stage of ["prestart", "createRuntime"] as const) runHooks(hooks, stage, record);
}

/** Opens what the plan will name; all close-on-exec here. */
function openForRestore(
  fds: Map<string, number>,
  container: ContainerSpec,
  record: StateRecord,
  place: string,
  isInCgroup: boolean,
): RestorePlanRequest {
  for (const join of container.namespaces.join) fds.set(`ns:${join.type}`, openNamespace(join));
  if (record.overlay) fds.set("rootfs", mountLayers(record.overlay, container, fds.get("ns:user")));
  const cgroupTasks: string[] = [];
  const cgroupBySystemd = record.cgroup?.systemd !== undefined;
  for (const { name, path, kind } of record.cgroup && isInCgroup ? joinFds(record.cgroup) : []) {
    fds.set(`tasks:${name}`, open(kind === "directory" ? `${path}/cgroup.procs` : path, O_WRONLY | O_CLOEXEC));
    cgroupTasks.push(name);
  }
  openIdmapped(container.spec, fds);
  return {
    cgroupBySystemd,
    cgroupTasks,
    place,
    root: record.overlay ? undefined : container.rootfs.path,
    targets: mountTargets(container.spec),
    trees: [...fds.keys()].filter((name) => name.startsWith("tree:")),
  };
}

/** What standard input, output and error were, by criu's names. */
function keptStdio(imagePath: string): readonly unknown[] {
  const path = `${imagePath}/${DESCRIPTORS}`;
  if (!existsSync(path)) return [];
  let names: unknown;
  try {
    names = JSON.parse(readFileSync(path));
  } catch (cause) {
    throw new TsrunError(`${path} is damaged`, { cause });
  }
  return Array.isArray(names) ? names : [];
}

/** Our descriptors that take the place of the terminal that the container was started from. */
function terminalsFor(inherited: Inherited, { shellJob, stdio }: RestoreOptions): number[] {
  return inherited.flatMap(([name, fd]) => {
    if (fd === NULL || !isOutsideTerminal(name)) return [];
    if (!shellJob) {
      throw new TsrunError(`${STDIO[fd]} of the container was the terminal that it was started from`, {
        fix: "restore it at a terminal, with --shell-job",
      });
    }
    const ours = stdio?.[fd] ?? fd;
    if (isTerminal(ours)) return [ours];
    throw new TsrunError(`--shell-job: ${STDIO[fd]} of the container was a terminal, and that of tsrun is none`);
  });
}

/**
 * criu is told where it is itself, as that is where what it restores belongs, or where it is to make that: in the image
 * is the place that it had under its former id. On v2 there is one place, and no controller to name it by.
 */
export function cgroupRoots(lines: readonly CgroupLine[]): { controller?: string; path: string }[] {
  return lines.flatMap(({ controllers, path }) =>
    controllers.length === 0 ? [{ path }] : controllers.map((controller) => ({ controller, path })),
  );
}
