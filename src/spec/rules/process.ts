/** process. Rules: OCI config.md "Process", "POSIX process", "Linux Process"; runc validate_linux.go, capabilities(7). */
import { CAPABILITIES } from "../capabilities.ts";
import { uint64 } from "../numbers.ts";
import { type ObjectShape, S } from "../structure.ts";
import { isNumberList, quote } from "../text.ts";
import type { LinuxCapabilities, POSIXRlimit, Process, Scheduler } from "../types.ts";
import type { RuleContext } from "./context.ts";

/** getrlimit(2). */
export const RLIMITS: readonly string[] = [
  "RLIMIT_CPU",
  "RLIMIT_FSIZE",
  "RLIMIT_DATA",
  "RLIMIT_STACK",
  "RLIMIT_CORE",
  "RLIMIT_RSS",
  "RLIMIT_NPROC",
  "RLIMIT_NOFILE",
  "RLIMIT_MEMLOCK",
  "RLIMIT_AS",
  "RLIMIT_LOCKS",
  "RLIMIT_SIGPENDING",
  "RLIMIT_MSGQUEUE",
  "RLIMIT_NICE",
  "RLIMIT_RTPRIO",
  "RLIMIT_RTTIME",
];

const NAMES = { list: S.text };
/** setgroups(2). */
const NGROUPS_MAX = 65536;
/** execve(2) takes 6 MiB of strings at most, and of each its NUL and a pointer count, too. */
const MAX_STRINGS = Math.floor((6 * 1024 * 1024) / 9);

export const PROCESS: ObjectShape = {
  members: {
    __proto__: null as never,
    terminal: S.boolean,
    // TIOCSWINSZ takes 16 bits.
    consoleSize: {
      members: { __proto__: null as never, height: S.uint16, width: S.uint16 },
      required: ["height", "width"],
    },
    user: {
      members: {
        __proto__: null as never,
        uid: S.id,
        gid: S.id,
        umask: S.uint32,
        additionalGids: { list: S.id, max: NGROUPS_MAX },
        username: S.text,
      },
    },
    args: { list: S.argument, max: MAX_STRINGS },
    env: { list: S.argument, max: MAX_STRINGS },
    cwd: S.path,
    capabilities: {
      members: {
        __proto__: null as never,
        bounding: NAMES,
        effective: NAMES,
        inheritable: NAMES,
        permitted: NAMES,
        ambient: NAMES,
      },
    },
    rlimits: {
      list: {
        members: { __proto__: null as never, type: { words: RLIMITS }, soft: S.uint64, hard: S.uint64 },
        required: ["type", "soft", "hard"],
      },
    },
    noNewPrivileges: S.boolean,
    apparmorProfile: S.text,
    oomScoreAdj: S.int32,
    selinuxLabel: S.text,
    scheduler: {
      members: {
        __proto__: null as never,
        policy: {
          words: ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"],
        },
        nice: S.int32,
        priority: S.int32,
        flags: {
          list: {
            words: [
              "SCHED_FLAG_RESET_ON_FORK",
              "SCHED_FLAG_RECLAIM",
              "SCHED_FLAG_DL_OVERRUN",
              "SCHED_FLAG_KEEP_POLICY",
              "SCHED_FLAG_KEEP_PARAMS",
              "SCHED_FLAG_UTIL_CLAMP_MIN",
              "SCHED_FLAG_UTIL_CLAMP_MAX",
            ],
          },
        },
        runtime: S.uint64,
        deadline: S.uint64,
        period: S.uint64,
      },
      required: ["policy"],
    },
    ioPriority: {
      members: {
        __proto__: null as never,
        class: { words: ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"] },
        priority: S.int32,
      },
      required: ["class"],
    },
    execCPUAffinity: { members: { __proto__: null as never, initial: S.text, final: S.text } },
  },
  required: ["cwd"],
};

/** Checks `process`, which stands at `path`; undefined: it is missing. */
export function checkProcess(context: RuleContext, process: Process | undefined, path = "process"): void {
  const { report, warn } = context;
  if (process === undefined) {
    report(path, "is missing: it says what to run");
    return;
  }
  checkCwd(context, process.cwd, `${path}.cwd`);
  if (process.args === undefined || process.args.length === 0) {
    report(`${path}.args`, "args must not be empty: its first element is what to run");
  } else if (isDescriptorPath(process.args[0] ?? "")) {
    report(`${path}.args[0]`, `${quote(process.args[0])} would run an open descriptor, perhaps of the host`);
  }
  process.env?.forEach((entry, i) => {
    // What the kernel is handed must be NAME=value for anybody to find it again.
    if (entry.indexOf("=") > 0) return;
    report(`${path}.env[${i}]`, `${quote(entry)} is not of the form NAME=value`);
  });
  const umask = process.user?.umask;
  if (umask !== undefined && umask > 0o777) {
    warn(
      `${path}.user.umask`,
      `${umask} is more than 511 (octal 777) and loses the bits above; JSON has no octal numbers`,
    );
  }
  const { oomScoreAdj = 0 } = process;
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000) {
    report(`${path}.oomScoreAdj`, `${oomScoreAdj} is out of range, -1000 to 1000`);
  }
  if (process.capabilities !== undefined) checkCapabilities(context, process.capabilities, `${path}.capabilities`);
  if (process.rlimits !== undefined) checkRlimits(context, process.rlimits, `${path}.rlimits`);
  if (process.scheduler !== undefined) checkScheduler(context, process.scheduler, `${path}.scheduler`);
  const priority = process.ioPriority?.priority ?? 0;
  if (priority < 0 || priority > 7) report(`${path}.ioPriority.priority`, `${priority} is out of range, 0 to 7`);
  for (const field of ["initial", "final"] as const) {
    const cpus = process.execCPUAffinity?.[field] ?? "";
    if (!isNumberList(cpus)) {
      report(`${path}.execCPUAffinity.${field}`, `${quote(cpus)} is no list of CPUs: "0-3,7" would be one`);
    }
  }
}

function checkCwd({ report }: RuleContext, cwd: string | undefined, path: string): void {
  if (cwd === undefined) return;
  if (!cwd.startsWith("/")) report(path, `must be an absolute path, not ${quote(cwd)}`);
  // CVE-2024-21626: a directory descriptor of the host that leaked would be the way out.
  else if (isDescriptorPath(cwd)) report(path, `${quote(cwd)} is an open descriptor, perhaps of the host`);
}

/** /proc/self/fd/7 and its other names. */
function isDescriptorPath(path: string): boolean {
  return path.includes("/fd") && /^\/+(?:\.\/+)*(?:proc\/+[^/]+\/+(?:task\/+[^/]+\/+)?fd|dev\/+fd)(?:\/|$)/.test(path);
}

function checkCapabilities(context: RuleContext, sets: LinuxCapabilities, path: string): void {
  for (const set of ["bounding", "effective", "inheritable", "permitted", "ambient"] as const) {
    sets[set]?.forEach((name, i) => {
      if (CAPABILITIES.includes(name)) return;
      const hint = context.suggest(name, CAPABILITIES);
      context.warn(`${path}.${set}[${i}]`, `unknown capability ${quote(name)}${hint}; it is left out`);
    });
  }
  const permitted = sets.permitted ?? [];
  sets.effective?.forEach((name, i) => {
    if (permitted.includes(name) || !CAPABILITIES.includes(name)) return;
    context.report(`${path}.effective[${i}]`, `${quote(name)} is not in permitted, and the kernel refuses that`);
  });
}

function checkRlimits({ report }: RuleContext, rlimits: readonly POSIXRlimit[], path: string): void {
  rlimits.forEach(({ type, soft, hard }, i) => {
    if (type === undefined) return;
    const first = rlimits.findIndex((limit) => limit.type === type);
    if (first !== i) report(`${path}[${i}].type`, `${quote(type)} is already set by ${path}[${first}]`);
    if (soft !== undefined && hard !== undefined && soft > hard) {
      report(`${path}[${i}].soft`, `${uint64(soft)} is more than the hard limit ${uint64(hard)}`);
    }
  });
}

function checkScheduler({ report }: RuleContext, scheduler: Scheduler, path: string): void {
  const { policy, nice = 0, priority = 0 } = scheduler;
  if (nice < -20 || nice > 19) report(`${path}.nice`, `${nice} is out of range, -20 to 19`);
  const isRealtime = policy === "SCHED_FIFO" || policy === "SCHED_RR";
  if (priority !== 0 && !isRealtime) report(`${path}.priority`, "is for SCHED_FIFO and SCHED_RR only");
  // sched(7); with this flag what the process has already counts.
  if (isRealtime && (priority < 1 || priority > 99) && !scheduler.flags?.includes("SCHED_FLAG_KEEP_PARAMS")) {
    report(`${path}.priority`, `${priority} is out of range, 1 to 99, for ${policy}`);
  }
  if (policy === "SCHED_DEADLINE") return;
  for (const field of ["runtime", "deadline", "period"] as const) {
    if ((scheduler[field] ?? 0) !== 0) report(`${path}.${field}`, "is for SCHED_DEADLINE only");
  }
}
