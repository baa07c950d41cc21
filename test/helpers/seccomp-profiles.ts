/** Seccomp profiles in the shape of those that engines use, made of facts that their documentation states. */
import { readFileSync } from "node:fs";
import { syscalls } from "../../src/seccomp/syscalls.ts";
import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall } from "../../src/spec/types.ts";

/** What engines keep from an unprivileged container by default. */
const DENIED = `acct add_key bpf clock_adjtime clock_settime clock_settime64 create_module delete_module finit_module
fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register
io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr move_mount
move_pages nfsservctl open_by_handle_at open_tree perf_event_open pivot_root query_module quotactl quotactl_fd reboot
request_key set_mempolicy sethostname setdomainname setns settimeofday stime swapoff swapon sysfs _sysctl syslog umount
umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vserver afs_syscall getpmsg putpmsg tuxcall security
epoll_ctl_old epoll_wait_old break ftime gtty stty lock mpx prof profil ulimit idle uretprobe uprobe`.split(/\s+/);

/** Calls with rules for their arguments. */
const WITH_RULES = ["personality", "clone", "clone3", "socket"];

const arg = (index: number, op: string, value: number, valueTwo = 0): LinuxSeccompArg => ({
  index,
  op: `SCMP_CMP_${op}`,
  value,
  valueTwo,
});

/** An allow-list of some 400 names with rules for arguments: what Docker, containerd and CRI-O install. */
export function engineProfile(isKnown: (name: string) => boolean = () => true): LinuxSeccomp {
  const names = new Set<string>();
  for (const architecture of ["x86_64", "i386", "arm"] as const) {
    for (const [name] of syscalls(architecture)) {
      if (!DENIED.includes(name) && !WITH_RULES.includes(name) && isKnown(name)) names.add(name);
    }
  }
  const allow = (name: string, ...args: LinuxSeccompArg[]): LinuxSyscall => ({
    names: [name],
    action: "SCMP_ACT_ALLOW",
    args,
  });
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 1,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: [
      { names: [...names].sort(), action: "SCMP_ACT_ALLOW" },
      ...[0, 8, 0x20000, 0x20008, 0xffffffff].map((persona) => allow("personality", arg(0, "EQ", persona))),
      // Without CLONE_NEW*.
      allow("clone", arg(0, "MASKED_EQ", 0x7e020000)),
      { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
      // Neither AF_ALG (38) nor AF_VSOCK (40).
      allow("socket", arg(0, "LT", 38)),
      allow("socket", arg(0, "EQ", 39)),
      allow("socket", arg(0, "GT", 40)),
    ],
  };
}

const PODMAN = "/usr/share/containers/seccomp.json";

interface PodmanEntry extends LinuxSyscall {
  includes?: { caps?: string[]; arches?: string[]; minKernel?: string };
  excludes?: { caps?: string[]; arches?: string[]; minKernel?: string };
}

/** The profile that Podman's package installed, for a container with these capabilities; undefined without it. */
export function podmanProfile(caps: readonly string[] = [], arch = "amd64"): LinuxSeccomp | undefined {
  let text: string;
  try {
    text = readFileSync(PODMAN, "utf8");
  } catch {
    return undefined;
  }
  const file = JSON.parse(text) as {
    defaultAction: string;
    defaultErrnoRet: number;
    archMap: { architecture: string; subArchitectures: string[] }[];
    syscalls: PodmanEntry[];
  };
  const { architecture = "", subArchitectures = [] } = file.archMap[arch === "amd64" ? 0 : 1] ?? {};
  const syscalls = file.syscalls.filter(({ includes = {}, excludes = {} }) => {
    if (includes.arches?.length && !includes.arches.includes(arch)) return false;
    if (excludes.arches?.includes(arch)) return false;
    if (includes.caps?.some((cap) => !caps.includes(cap))) return false;
    return !excludes.caps?.some((cap) => caps.includes(cap));
  });
  return {
    defaultAction: file.defaultAction,
    defaultErrnoRet: file.defaultErrnoRet,
    architectures: [architecture, ...subArchitectures],
    syscalls: syscalls.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet === undefined ? {} : { errnoRet }),
      args: args ?? [],
    })),
  };
}

/** A sequence of numbers in [0, 1) that is the same every time. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 0x100000000;
  };
}

export interface RandomProfile {
  operators: readonly string[];
  architectures: readonly string[];
  /** Actions of the rules of one profile. */
  actions: number;
}

const NAMES = ["read", "ioctl", "socket", "personality", "shmat", "chown32", "readv", "time", "openat", "msgget"];
const ACTIONS = ["SCMP_ACT_ALLOW", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL"];
const DEFAULTS = ["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"];
const VALUES = [0, 1, 2, 8, 0xffffffff, 1n << 32n, (5n << 32n) + 1n];

export function randomProfile(
  random: () => number,
  { operators, architectures, actions }: RandomProfile,
): LinuxSeccomp {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const upTo = (count: number) => Math.floor(random() * (count + 1));
  const chosen = Array.from({ length: actions }, () => pick(ACTIONS));
  return {
    defaultAction: pick(DEFAULTS),
    architectures: architectures.filter(() => random() < 0.7),
    syscalls: Array.from({ length: 1 + upTo(4) }, () => ({
      names: Array.from({ length: 1 + upTo(2) }, () => pick(NAMES)),
      action: pick(chosen),
      args: Array.from({ length: upTo(2) }, () => ({
        index: upTo(2),
        op: `SCMP_CMP_${pick(operators)}`,
        value: pick(VALUES),
        valueTwo: pick(VALUES),
      })),
    })),
  };
}

/** Arguments at, below and above the values of the profile's rules, in both halves; at most some hundred lists. */
export function interestingArgs(profile: LinuxSeccomp, most = 150): bigint[][] {
  const values = new Set([0n]);
  const indexes = new Set<number>();
  for (const { args = [] } of profile.syscalls ?? []) {
    for (const { index, value, valueTwo = 0 } of args) {
      indexes.add(index);
      for (const exact of [BigInt(value), BigInt(valueTwo)]) {
        for (const near of [exact - 1n, exact, exact + 1n, exact ^ (1n << 32n)]) values.add(BigInt.asUintN(64, near));
      }
    }
  }
  let lists: bigint[][] = [[0n, 0n, 0n, 0n, 0n, 0n]];
  for (const index of indexes) {
    lists = lists.flatMap((list) => [...values].map((value) => list.with(index, value)));
    // A step that shares no factor with the number of values, so that all of them stay in.
    const step = Math.ceil(lists.length / most) | 1;
    lists = lists.filter((_, i) => i % step === 0);
  }
  return lists;
}
