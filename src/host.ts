/**
 * What the machine is, asked once per run; everything after spec/resolve is told, and asks nothing.
 */
import { isErrno } from "./errors.ts";
import { existsSync, findProgram, readFileSync, writeFileSync } from "./sys/fs.ts";

export interface Host {
  /** Major and minor of the kernel's release. */
  kernel: [number, number];
  /** CAP_SYS_ADMIN over the machine: effective, and in the initial user namespace. */
  privileged: boolean;
  euid: number;
  egid: number;
  /** The cgroup layout; "none" when no hierarchy is mounted. */
  cgroup: "v1" | "hybrid" | "v2" | "none";
  /** Is this process in a user namespace that is not the initial one? */
  userns: boolean;
  /** Hard limits of this process by name ("RLIMIT_NOFILE"); 2^64-1 is "unlimited". Read when first asked for. */
  readonly hardLimits: Readonly<Record<string, bigint>>;
  /** This process's niceness, and its realtime priority or 0. Read when first asked for. */
  readonly scheduling: { nice: number; priority: number };
  /** Would the kernel let this process have that score with the OOM killer? For who lacks CAP_SYS_RESOURCE. */
  mayHaveOomScore(score: number): boolean;
  /** Security modules that label processes: is each there? Read when first asked for. */
  readonly apparmor: boolean;
  readonly selinux: boolean;
  /** Is there a /proc/kcore to link to? */
  hasKcore: boolean;
  /** The highest capability number that the kernel has. */
  lastCap: number;
  /** What newuidmap(1) and newgidmap(1) may map for this user. Read when first asked for. */
  readonly subordinate: Subordinate;
  /** The ids that this process's user namespace has, as it sees them. Read when first asked for. */
  readonly ownIds: { uids: IdRange[]; gids: IdRange[] };
  /** The capabilities that this process has, as a mask: it can give no others, but in a new user namespace. */
  capabilities: bigint;
}

/** Ids that a user may map besides his own: subuid(5), subgid(5). */
export interface Subordinate {
  uids: IdRange[];
  gids: IdRange[];
  /** Are both programs there that map them? */
  hasPrograms: boolean;
  /** Are all of them in the two files, or do they come from elsewhere too (nsswitch.conf)? */
  isComplete: boolean;
}

export interface IdRange {
  first: number;
  count: number;
}

const CAP_SYS_ADMIN = 21n;

/** @param cgroup the layout, which only the cgroup folder knows how to tell */
export function hostFacts(cgroup: Host["cgroup"]): Host {
  const [major = 0, minor = 0] = read("/proc/sys/kernel/osrelease")
    .split(".", 2)
    .map((part) => Number.parseInt(part, 10));
  // One line "0 0 4294967295": every id is itself.
  const userns = !/^\s*0\s+0\s+4294967295\s*$/.test(read("/proc/self/uid_map"));
  const status = read("/proc/self/status");
  const effective = mask(status, "CapEff");
  return {
    kernel: [major, minor],
    privileged: !userns && ((effective >> CAP_SYS_ADMIN) & 1n) === 1n,
    euid: process.geteuid?.() ?? 0,
    egid: process.getegid?.() ?? 0,
    cgroup,
    userns,
    get hardLimits() {
      return hardLimits(read("/proc/self/limits"));
    },
    get scheduling() {
      return scheduling(read("/proc/self/stat"));
    },
    mayHaveOomScore,
    get apparmor() {
      return read("/sys/module/apparmor/parameters/enabled").startsWith("Y");
    },
    get selinux() {
      return existsSync("/sys/fs/selinux/status");
    },
    get subordinate() {
      return subordinateIds(process.geteuid?.() ?? 0);
    },
    get ownIds() {
      return { uids: mappedRanges(read("/proc/self/uid_map")), gids: mappedRanges(read("/proc/self/gid_map")) };
    },
    hasKcore: existsSync("/proc/kcore"),
    lastCap: Number(read("/proc/sys/kernel/cap_last_cap")) || 40,
    capabilities: mask(status, "CapPrm") & mask(status, "CapBnd"),
  };
}

/** The ids on the inner side of a map of user_namespaces(7): "inside outside count". */
export function mappedRanges(map: string): IdRange[] {
  const ranges: IdRange[] = [];
  for (const line of map.split("\n")) {
    const [first, , count] = line.trim().split(/\s+/).map(Number);
    if (first !== undefined && count !== undefined) ranges.push({ first, count });
  }
  return ranges;
}

export function subordinateIds(uid: number): Subordinate {
  const name = userName(read("/etc/passwd"), uid);
  return {
    uids: subordinateRanges(read("/etc/subuid"), name, uid),
    gids: subordinateRanges(read("/etc/subgid"), name, uid),
    hasPrograms: findProgram("newuidmap") !== undefined && findProgram("newgidmap") !== undefined,
    isComplete: !/^subid:/m.test(read("/etc/nsswitch.conf")),
  };
}

function userName(passwd: string, uid: number): string | undefined {
  for (const line of passwd.split("\n")) {
    const fields = line.split(":");
    if (fields[2] === String(uid)) return fields[0];
  }
  return undefined;
}

/** The ranges that the file gives a user, by name or by number: "name:first:count". */
export function subordinateRanges(text: string, name: string | undefined, uid: number): IdRange[] {
  const ranges: IdRange[] = [];
  for (const line of text.split("\n")) {
    const match = /^([^:]+):(\d+):(\d+)\s*$/.exec(line);
    if (match === null || (match[1] !== name && match[1] !== String(uid))) continue;
    const [first, count] = [Number(match[2]), Number(match[3])];
    // There are no such ids, and newuidmap(1) makes nothing of them either.
    if (count === 0 || first + count > 2 ** 32 - 1) continue;
    ranges.push({ first, count });
  }
  return ranges;
}

/** A capability set of proc_pid_status(5). */
function mask(status: string, name: string): bigint {
  const at = status.indexOf(`${name}:\t`);
  return at === -1 ? 0n : BigInt(`0x${status.slice(at + name.length + 2, at + name.length + 18)}`);
}

/** Rows of proc_pid_limits(5), as setrlimit(2) calls them. */
const LIMIT_ROWS: Readonly<Record<string, string>> = {
  "Max cpu time": "RLIMIT_CPU",
  "Max file size": "RLIMIT_FSIZE",
  "Max data size": "RLIMIT_DATA",
  "Max stack size": "RLIMIT_STACK",
  "Max core file size": "RLIMIT_CORE",
  "Max resident set": "RLIMIT_RSS",
  "Max processes": "RLIMIT_NPROC",
  "Max open files": "RLIMIT_NOFILE",
  "Max locked memory": "RLIMIT_MEMLOCK",
  "Max address space": "RLIMIT_AS",
  "Max file locks": "RLIMIT_LOCKS",
  "Max pending signals": "RLIMIT_SIGPENDING",
  "Max msgqueue size": "RLIMIT_MSGQUEUE",
  "Max nice priority": "RLIMIT_NICE",
  "Max realtime priority": "RLIMIT_RTPRIO",
  "Max realtime timeout": "RLIMIT_RTTIME",
};

function hardLimits(text: string): Record<string, bigint> {
  const limits: Record<string, bigint> = {};
  // "%-25s %-20s %-20s %-10s": name, soft limit, hard limit, units. No regular expression: it is read at every start.
  for (const line of text.split("\n")) {
    const name = LIMIT_ROWS[line.slice(0, 26).trimEnd()];
    const hard = line.slice(47, 68).trimEnd();
    if (name) limits[name] = hard === "unlimited" ? 0xffffffffffffffffn : BigInt(hard);
  }
  return limits;
}

/** Fields 19 and 40 of proc_pid_stat(5). */
export function scheduling(stat: string): Host["scheduling"] {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { nice: Number(fields[16] ?? 0), priority: Number(fields[37] ?? 0) };
}

/**
 * The lowest score that is allowed is in no file, and what a process has may be above it: one that is lower is tried.
 * Going up again needs no right.
 */
function mayHaveOomScore(score: number): boolean {
  const file = "/proc/self/oom_score_adj";
  const now = read(file).trim();
  if (now === "" || score >= Number(now)) return true;
  try {
    writeFileSync(file, String(score));
  } catch (error) {
    return !isErrno(error, "EACCES");
  }
  writeFileSync(file, now);
  return true;
}

function read(path: string): string {
  try {
    return readFileSync(path);
  } catch {
    return "";
  }
}
