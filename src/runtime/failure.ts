/**
 * What a step that failed means to the person who reads it: the operation, the path, the errno, and the fix.
 * Wording of a missing command as runc has it: engines choose exit code 127 or 126 by it.
 */
import { errnoText } from "../errno.ts";
import { StepError, TsrunError } from "../errors.ts";
import { S_IFBLK, S_IFCHR } from "../linux.ts";
import { describeStep } from "../plan/describe.ts";
import type { Plan, Step } from "../plan/step.ts";
import { signalName } from "../sys/constants.ts";
import { readFileSync, statSync } from "../sys/fs.ts";
import { getrlimit, kernelVersion, type WaitStatus } from "../sys/process.ts";

const MAX_WORDS = 1000;
const RLIMIT_NOFILE = 7;

/** @param index of the step that failed, -1 or beyond the plan when the init could not say */
export function stepFailure(plan: Plan, index: number, code: string): TsrunError {
  const step = plan.steps[index];
  if (!step) return new StepError(`the init failed outside its plan: ${code} (${errnoText(code)})`, index, code);
  const command = commandFailure(plan, step, code);
  if (command) return new StepError(command.message, index, code, command.fix ? { fix: command.fix } : {});
  const message = `${step.about}: ${inWords(plan, index, step)}: ${code} (${sourceText(step, code)})`;
  const fix = misfit(plan, index, step, code) ?? otherDevice(plan, index, step, code) ?? fixFor(step, code);
  return new StepError(message, index, code, fix ? { fix } : {});
}

/** The step as the plan has it, but where the reader wants to know the file, not the descriptor. */
function inWords(plan: Plan, index: number, step: Step): string {
  const fd = step.args[0];
  const words = shortened(describeStep(step));
  if (step.op === "checkDevice") return words.replace(`that ${fd} is`, `that ${openedPath(plan, index, fd)} is`);
  if (step.op !== "write") return words;
  const path = openedPath(plan, index, fd) ?? plan.inherit.find((one) => one.fd === fd)?.name ?? fd;
  return `write ${shortened(JSON.stringify(step.args[1]))} to ${path}`;
}

function openedPath(plan: Plan, index: number, fd: Step["args"][number] | undefined): string | undefined {
  const opened = plan.steps.slice(0, index).findLast(({ op, args }) => /^open(In|Tree)?$/.test(op) && args[0] === fd);
  return opened && String(opened.args[opened.op === "open" ? 1 : 2]);
}

/** Lists of a config may be long, and the path comes first. */
function shortened(text: string): string {
  return text.length <= MAX_WORDS ? text : `${text.slice(0, MAX_WORDS)}... (${text.length} characters)`;
}

/** The init ended without a word. @param end how; undefined when nobody can tell any more */
export function initDied(end: WaitStatus | undefined): TsrunError {
  if (end?.kind === "exited") {
    return new TsrunError(`the container's process ended with ${end.exitCode} while it was being set up`);
  }
  const signal = end === undefined || end.signal === 0 ? undefined : signalName(end.signal);
  const fix =
    signal === "SIGKILL"
      ? "is linux.resources.memory.limit too small, or did somebody kill it?"
      : "look at the kernel's log";
  return new TsrunError(
    `the container's process was killed${signal ? ` by ${signal}` : ""} while it was being set up`,
    { fix },
  );
}

/** Of a bind mount's source the usual words are right: callers show them to whoever asked for the mount. */
function sourceText(step: Step, code: string): string {
  if (code === "ENOENT" && step.op === "openTree") return "no such file or directory";
  return errnoText(code);
}

function commandFailure(plan: Plan, step: Step, code: string): { message: string; fix?: string } | undefined {
  const argv = plan.steps.find((other) => other.op === "exec")?.args[0] as readonly string[] | undefined;
  const name = JSON.stringify(argv?.[0] ?? "");
  if (step.op === "findExecutable") {
    const isPath = (argv?.[0] ?? "").includes("/");
    if (code === "ENOENT" || code === "ENOTDIR") {
      if (!isPath) return { message: `exec: ${name}: executable file not found in $PATH` };
      return { message: `exec: ${name}: stat ${argv?.[0]}: no such file or directory` };
    }
    if (code === "EACCES") {
      return { message: `exec: ${name}: permission denied`, fix: "is it executable for the user of the process?" };
    }
    // For 126 podman looks for "permission denied"; docker takes either.
    if (code === "EISDIR") return { message: `exec: ${name}: permission denied: it is a directory` };
    return { message: `exec: ${name}: ${code} (${errnoText(code)})` };
  }
  return step.op === "exec" ? execFailure(argv?.[0] ?? "", code) : undefined;
}

/** Why execve(2) of a file that is there and executable failed. */
export function execFailure(command: string, code: string): { message: string; fix?: string } {
  const exec = `exec ${JSON.stringify(command)}`;
  switch (code) {
    case "ENOENT":
      return {
        message: `${exec}: no such file or directory`,
        fix: "the file is there, so what it names is not: the interpreter after #! (CRLF at its end?) or the ELF loader",
      };
    case "ENOEXEC":
      return { message: `${exec}: exec format error`, fix: "a script needs #! in its first line; a program, this CPU" };
    case "EACCES":
      return { message: `${exec}: permission denied`, fix: "is its mount noexec?" };
    case "E2BIG":
      return {
        message: `${exec}: ${code} (${errnoText(code)})`,
        fix: "process.args and process.env together may take a quarter of RLIMIT_STACK, and 6 MiB at most",
      };
    case "EAGAIN":
      return {
        message: `${exec}: ${code} (${errnoText(code)})`,
        fix: "is RLIMIT_NPROC reached? All processes of the user count, those of other containers, too",
      };
    default:
      return { message: `${exec}: ${code} (${errnoText(code)})` };
  }
}

/** A bind mount whose source and destination are of different types: which is which. */
function misfit(plan: Plan, index: number, step: Step, code: string): string | undefined {
  const LIKE_ITS_SOURCE = 3;
  if (step.op !== "target" || step.args[3] !== LIKE_ITS_SOURCE || !/^(ENOTDIR|EISDIR)$/.test(code)) return undefined;
  const opened = plan.steps.slice(0, index).findLast(({ op, args }) => op === "openTree" && args[0] === step.args[4]);
  const source = opened?.args[2] === "" ? "" : ` ${opened?.args[2] ?? ""}`;
  const ask = "are you trying to mount a directory onto a file (or vice-versa)?";
  if (code === "EISDIR") return `the source${source} is a file and the destination ${step.args[2]} a directory; ${ask}`;
  const isDirectory = source.length > 1 && statSync(source.slice(1))?.isDirectory() === true;
  if (!isDirectory) return undefined;
  return `the source${source} is a directory and the destination ${step.args[2]}, or a part of its path, a file; ${ask}`;
}

/** What the host has in the place of a device, of which a container is given the host's own node. */
function otherDevice(plan: Plan, index: number, step: Step, code: string): string | undefined {
  if (step.op !== "checkDevice" || code !== "EINVAL") return undefined;
  const path = openedPath(plan, index, step.args[0]) ?? "";
  const { mode, rdev } = statSync(path) ?? { mode: 0, rdev: 0 };
  const type = { [S_IFCHR]: "c", [S_IFBLK]: "b" }[mode & 0o170000];
  const node = type === undefined ? "no device" : `${type} ${Math.floor(rdev / 0x100000)}:${rdev % 0x100000}`;
  return `${path} of the host is ${node}${step.about.startsWith("linux.devices") ? `, and ${BOUND}` : ""}`;
}

const BOUND = "in a user namespace device nodes are those of the host, bound at their place";

function fixFor(step: Step, code: string): string | undefined {
  // A number that is not below the limit is said to be none.
  if (code === "EBADF" || code === "EMFILE") {
    return `RLIMIT_NOFILE (ulimit -n), ${getrlimit(RLIMIT_NOFILE).soft} for tsrun, is too small for the mounts of this container`;
  }
  switch (`${step.op} ${code}`) {
    case "open EACCES":
      return step.about === "root.path"
        ? "root of the container's user namespace must be let through every directory on the way (chmod o+x)"
        : undefined;
    case "target ENOTDIR":
      return "a part of the path is a file; are you trying to mount a directory onto a file (or vice-versa)?";
    case "target EROFS":
      return "the place is missing, and what it would lie in is read-only: make it there first";
    case "target ELOOP":
      return "the image has a symbolic link there; what the kernel shows must be mounted on ordinary directory";
    case "openTree EINVAL":
      return "in a user namespace what is mounted below the source comes with it: use rbind";
    case "openTree ENOENT":
      return step.about.startsWith("linux.devices") ? `${BOUND}, and it has none there` : undefined;
    case "mountSetattr EPERM":
      return step.about.startsWith("mounts[")
        ? "in a user namespace the flags that the source's mount has stay: leave out what would clear them"
        : undefined;
    case "attach ENOTDIR":
      return "source and destination must both be directories or both be files";
    case "unmount EINVAL":
      return "nothing is mounted there, or its user namespace has locked it";
    case "checkMount ESTALE":
    case "checkMount ENOENT":
    case "checkMount ELOOP":
      return "somebody changed the root file system meanwhile: a mount does not lie where it was put";
    case "symlink EEXIST":
      return "something else than this link is there already";
    case "user EINVAL":
      return "is the id in linux.uidMappings or linux.gidMappings?";
    case "user EPERM":
    case "become EPERM":
      return "groups cannot be set where an ordinary user maps a single id";
    case "capabilities EPERM":
      return "tsrun cannot give capabilities that it does not have itself";
    case "write EACCES":
      return step.about === "process.oomScoreAdj" ? "lowering it needs CAP_SYS_RESOURCE" : undefined;
    case "write ENOENT":
      return step.about === "process.apparmorProfile" ? "load the profile first: apparmor_parser -r FILE" : undefined;
    case "schedAttr EPERM":
      return "a realtime policy needs CAP_SYS_NICE and, where cgroup v1 shares real time out, linux.resources.cpu.realtimeRuntime";
    case "ioPriority EPERM":
      return "a realtime class needs CAP_SYS_NICE";
    case "memoryPolicy EINVAL":
      return "are the nodes among those of the cgroup (cpuset.mems) and of the machine?";
    case "seccomp EINVAL":
      return "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19";
    case "seccomp EBUSY":
      return "the kernel allows a process one listener, and tsrun itself runs under a filter that has one";
    case "rlimit EPERM":
      return "raising a hard limit needs CAP_SYS_RESOURCE";
    case "fsmount EPERM":
      return fileSystemFix(String(step.args[1]));
    case "loopback EPERM":
      return "bringing lo up needs CAP_NET_ADMIN beside CAP_SYS_ADMIN: start the container that this is with it, or use the network that is there";
    case "mountSetattr ENOSYS":
    case "cloexecFrom ENOSYS":
    case "cloexecFrom EINVAL": // Linux 5.9 and 5.10 have the call without the flag
      return isTooOld(kernelVersion()) ? "tsrun needs Linux 5.12 or newer" : undefined;
    case "pivot EINVAL":
      return "on an initramfs pivot_root does not work: use --no-pivot";
    case "keyring EPERM":
      return "keyrings are forbidden here, as in most containers: use --no-new-keyring";
    case "clone EPERM":
      return "new namespaces need CAP_SYS_ADMIN, which a container has only when it was given; or a user namespace";
    case "clone ENOSPC":
      return `a limit is reached: sysctl ${limitsOfNone().join(", ") || "user.max_*_namespaces"}`;
    case "clone EAGAIN":
      return "a limit on processes is reached: RLIMIT_NPROC, pids.max or kernel.pid_max";
    case "clone EOPNOTSUPP":
      return 'the cgroup is "domain invalid", as one above it became threaded: choose another cgroupsPath';
    case "clone EBUSY":
      return "the cgroup has controllers enabled for its children, so it takes no process itself";
    case "setns EINVAL":
      return "the file is of another kind of namespace";
    default:
      return undefined;
  }
}

/** A file system of the kernel's that root of a user namespace may not mount. */
function fileSystemFix(type: string): string | undefined {
  if (type === "sysfs")
    return "in a user namespace sysfs needs a new network namespace, and a /sys that is wholly visible";
  if (type !== "proc") return undefined;
  const covered = coveredInProc();
  if (covered.length === 0)
    return "in a user namespace a new procfs needs a /proc that is wholly visible, and a new pid namespace";
  const some = `${covered.slice(0, 3).join(", ")}${covered.length > 3 ? ` and ${covered.length - 3} more` : ""}`;
  return `the container that this is hides ${some}, and in a user namespace the kernel mounts no procfs that would show them: start that one with an unmasked /proc (podman --security-opt unmask=ALL, docker --security-opt systempaths=unconfined), or bind /proc`;
}

/** What lies over parts of /proc; on directories that are there to be mounted on nothing is hidden. */
function coveredInProc(): string[] {
  const places = /^\/proc\/(?!sys\/fs\/binfmt_misc|fs\/nfsd|xen)/;
  try {
    const lines = readFileSync("/proc/self/mountinfo").split("\n");
    return [...new Set(lines.map((line) => line.split(" ")[4] ?? "").filter((place) => places.test(place)))];
  } catch {
    return [];
  }
}

/** The kinds of namespaces of which nobody may make any here; a limit that is merely reached does not say so. */
function limitsOfNone(): string[] {
  return ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"].flatMap((type) => {
    try {
      return Number(readFileSync(`/proc/sys/user/max_${type}_namespaces`)) === 0 ? [`user.max_${type}_namespaces`] : [];
    } catch {
      // This kernel has no such namespace, or /proc is hidden.
      return [];
    }
  });
}

/** A filter says ENOSYS too, for what a newer kernel has. */
function isTooOld([major, minor]: readonly [number, number]): boolean {
  return major < 5 || (major === 5 && minor < 12);
}
