/**
 * The way of a container into files. criu stops its processes and writes them down; what is not theirs is named
 * (outside.ts), and what goes with the container is kept beside the images:
 *
 *   descriptors.json   what standard input, output and error were, as runc and crun have it; then, which of these
 *                      names are the host's null device
 *   rw-layer/          what it wrote, when its layers are ours and the read-write one has no name
 */
import { type CgroupRecord, cgroupProcesses, detectCgroups } from "../cgroup/manager.ts";
import { freezerOf } from "../cgroup/record.ts";
import { isOutsideFile, isOutsideTerminal } from "../criu/external.ts";
import { DUMP_LOG, dumpRequest } from "../criu/requests.ts";
import { StateError, TsrunError } from "../errors.ts";
import { isAbsolute, join, resolve } from "../path.ts";
import type { Spec } from "../spec/types.ts";
import { copyTree } from "../storage/copy-tree.ts";
import { overlayDir } from "../storage/layout.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { Fd, isOpen, open } from "../sys/file.ts";
import { existsSync, lstatSync, mkdirSync, readdirSync, unlinkSync, writeFileSync } from "../sys/fs.ts";
import { removeTree } from "../sys/remove.ts";
import { checkRoot, Directories, readQuiet, runCriu } from "./criu.ts";
import { deleteLocked } from "./delete.ts";
import { endContainer } from "./end.ts";
import { processStat, statusOf } from "./lifecycle.ts";
import { NOTIFY_DIRECTORY } from "./notify.ts";
import type { CheckpointOptions, ContainerStatus } from "./options.ts";
import { dumpedExternals, nullNames, refuseSharedMounts, refuseWhatCriuCannot, stdioNames } from "./outside.ts";
import { absolutePath, stateRoot } from "./paths.ts";
import { readConfig, StateDirectory, type StateRecord } from "./state.ts";

export const DESCRIPTORS = "descriptors.json";
export const RW_LAYER = "rw-layer";
export const STDIO = ["standard input", "standard output", "standard error"] as const;

/** @throws StateError when it does not run; TsrunError, and the container runs on */
export function dump(options: CheckpointOptions): void {
  checkRoot("checkpoint");
  const imagePath = absolutePath(options.imagePath);
  checkParent(imagePath, options.parentPath);
  if (options.statusFd !== undefined && !isOpen(options.statusFd)) {
    throw new TsrunError(`--status-fd ${options.statusFd} is no open descriptor`);
  }
  const state = new StateDirectory(stateRoot(options.root), options.id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  if (status !== "running" && status !== "paused") {
    throw new StateError(`Container cannot be checkpointed in ${status} state`);
  }
  const config = readConfig(state);
  refuseSharedMounts(config);
  refuseWhatCriuCannot(config);
  refuseUnnamedCopy(record);
  if (existsSync(`${state.path}/${NOTIFY_DIRECTORY}`)) {
    throw new TsrunError("a container that tells NOTIFY_SOCKET when it is ready cannot be checkpointed", {
      fix: "make it without NOTIFY_SOCKET in the environment of tsrun",
    });
  }
  const stdio = stdioNames(record.pid);
  if (!options.shellJob) refuseTerminal(stdio);
  using directories = new Directories(imagePath, options.workPath, { make: true });
  const before = new Set(readdirSync(imagePath));
  try {
    writeImages(options, { record, status, config, stdio, directories, imagePath });
  } catch (error) {
    removeImages(imagePath, before);
    throw error;
  }
  if (options.leaveRunning || options.preDump) return;
  endContainer(record);
  deleteLocked(state, record, false);
}

/** criu takes a path from the new images to the old ones, so that both can be moved together. */
function checkParent(imagePath: string, parentPath: string | undefined): void {
  if (parentPath === undefined) return;
  if (isAbsolute(parentPath)) {
    throw new TsrunError(`--parent-path ${parentPath} must be relative to the directory of the images`);
  }
  const path = join(imagePath, parentPath);
  if (!existsSync(path)) throw new TsrunError(`--parent-path ${parentPath}: there is no directory ${path}`);
}

/** Its read-write layer goes with the container, and only one of overlayfs can be kept beside the images. */
function refuseUnnamedCopy({ overlay }: StateRecord): void {
  if (overlay?.driver === undefined || overlay.named) return;
  throw new TsrunError(`the read-write layer of driver ${overlay.driver} would be lost with the container`, {
    fix: "give it a name when the container is made: --rw-layer NAME",
  });
}

/** Nobody but who asks for it gets the terminal of whoever restores the container. */
function refuseTerminal(stdio: readonly string[]): void {
  const fd = stdio.findIndex(isOutsideTerminal);
  if (fd < 0) return;
  throw new TsrunError(`${STDIO[fd]} of the container is the terminal that it was started from`, {
    fix: "--shell-job, here and when it is restored at a terminal; one of its own (process.terminal) needs no flag",
  });
}

interface Dumped {
  record: StateRecord;
  status: ContainerStatus;
  config: Spec;
  /** By criu's names. */
  stdio: readonly string[];
  directories: Directories;
  imagePath: string;
}

function writeImages(options: CheckpointOptions, dumped: Dumped): void {
  const { record, status, config, stdio, directories, imagePath } = dumped;
  const { pid, cgroup, overlay } = record;
  const { preDump } = options;
  const external: string[] = [];
  if (!preDump) {
    writeFileSync(`${imagePath}/${DESCRIPTORS}`, JSON.stringify([...stdio, ...nullNames(pid, stdio)]), { mode: 0o600 });
    external.push(...dumpedExternals(record, config, detectCgroups()), ...new Set(stdio.filter(isTold)));
  }
  const request = dumpRequest(options, {
    imagesDirFd: directories.images.fd,
    workDirFd: directories.work.fd,
    configFile: config.annotations?.["org.criu.config"],
    pid,
    external,
    freezeCgroup: cgroup && freezerFor(cgroup, status),
  });
  runCriu({
    program: options.criu,
    feature: options.networkLock === "skip" ? { name: "--network-lock skip", since: [3, 18] } : undefined,
    plan: { kept: [] },
    fds: new Map(),
    request: () => request,
    onNotice: ({ script }) => {
      // All processes stand still now.
      if (script === "post-dump" && !preDump && overlay && !overlay.named) keepLayer(overlay, imagePath);
    },
    what: "checkpoint the container",
    log: resolve(options.workPath ?? imagePath, DUMP_LOG),
  });
}

/**
 * The cgroup by which criu is to stop all of the container. On v1 not beside a process that a signal has stopped: to trace
 * that, criu waits until it runs for a moment, which it does not while it is frozen (ptrace_attach() in the kernel).
 */
function freezerFor(cgroup: CgroupRecord, status: ContainerStatus): string | undefined {
  const freezer = freezerOf(cgroup);
  // Others in it would be stopped too.
  if (freezer === undefined || cgroup.shared) return undefined;
  const stopped = freezer.version === 1 ? cgroupProcesses(cgroup).find(isStopped) : undefined;
  if (stopped === undefined) return freezer.dir;
  if (status !== "paused") return undefined;
  throw new TsrunError(
    `process ${stopped} of the container is stopped, and criu cannot trace it while it is frozen, too`,
    {
      fix: "resume the container, or send SIGCONT to the process",
    },
  );
}

/** Since Linux 6.1 its state is D once it is frozen, and what it waits in tells. */
function isStopped(pid: number): boolean {
  const state = processStat(pid)?.state;
  return state === "T" || (state === "D" && readQuiet(`/proc/${pid}/wchan`) === "do_signal_stop");
}

/** Has criu to be told of a descriptor that has this name? */
function isTold(name: string): boolean {
  return isOutsideFile(name) || isOutsideTerminal(name);
}

function keepLayer({ storageRoot, mountId }: RootfsRecord, imagePath: string): void {
  removeTree(imagePath, RW_LAYER); // of an earlier checkpoint
  mkdirSync(`${imagePath}/${RW_LAYER}`, { mode: 0o700 });
  using from = new Fd(open(`${overlayDir(storageRoot)}/${mountId}/diff`, O_RDONLY | O_DIRECTORY));
  using to = new Fd(open(`${imagePath}/${RW_LAYER}`, O_RDONLY | O_DIRECTORY));
  copyTree(from.fd, to.fd);
}

/** What a failed attempt has written, but for its log: it would look like a checkpoint. */
function removeImages(imagePath: string, before: ReadonlySet<string>): void {
  for (const name of readdirSync(imagePath)) {
    if (before.has(name) || name.endsWith(".log")) continue;
    if (name === RW_LAYER) removeTree(imagePath, name);
    else if (lstatSync(`${imagePath}/${name}`)?.isDirectory() === false) unlinkSync(`${imagePath}/${name}`);
  }
}
