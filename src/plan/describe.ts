/**
 * A plan in words, one readable line a step: what `tsrun plan` prints and what errors name.
 */

import { S_IFBLK, S_IFCHR, S_IFIFO } from "../linux.ts";
import { escapeControl } from "../log.ts";
import { CAPABILITIES } from "../spec/capabilities.ts";
import { CLONE_NAMES } from "./namespaces.ts";
import type { OpName, Plan, Step, StepArg } from "./step.ts";

/** One line a step, numbered as errors number them, with the part of config.json it comes from. */
export function describePlan(plan: Plan): string[] {
  const width = String(plan.steps.length - 1).length;
  return plan.steps.map((step, i) =>
    escapeControl(`${String(i).padStart(width)}  ${describeStep(step)}  # ${step.about}`),
  );
}

/** The operation as its man page has it: `mount_setattr 7 rdonly,nosuid`. */
export function describeStep(step: Step): string {
  const describe = DESCRIPTIONS[step.op];
  return describe ? describe(step.args) : [kebab(step.op), ...step.args.map(plain)].join(" ");
}

/** The system calls where an op is named otherwise, and the arguments that are bits. */
const DESCRIPTIONS: Partial<Record<OpName, (args: readonly StepArg[]) => string>> = {
  open: ([fd, path]) => `open ${plain(path)} as ${plain(fd)}`,
  openIn: ([fd, root, path]) => `openat2 ${plain(path)} in ${plain(root)} as ${plain(fd)}`,
  close: ([fd]) => `close ${plain(fd)}`,
  write: ([fd, text]) => `write ${plain(text)} to ${plain(fd)}`,
  setns: ([fd, flags]) => `setns ${plain(fd)} ${namespaces(flags)}`,
  unshare: ([flags]) => `unshare ${namespaces(flags)}`,
  clone: ([flags, cgroup]) => `clone3 ${namespaces(flags)}${cgroup === -1 ? "" : ` into cgroup ${plain(cgroup)}`}`,
  become: ([uid, gid]) => `become uid ${plain(uid)} gid ${plain(gid)}`,
  fsmount: ([fd, type, attrs, options]) =>
    `fsmount ${plain(type)} ${list(options)} ${attributes(attrs)} as ${plain(fd)}`,
  fsmountLike: ([fd, type, attrs, options, like]) =>
    `fsmount ${plain(type)} ${list(options)} ${attributes(attrs)} as ${plain(fd)}, mode of ${plain(like)}`,
  openTree: ([fd, dirfd, path, flags]) =>
    `open_tree ${place(dirfd, path)}${has(flags, 0x8000) ? " recursive" : ""}${has(flags, 0x100) ? " nofollow" : ""} as ${plain(fd)}`,
  mountSetattr: ([dirfd, path, flags, set, clear, propagation]) =>
    [
      `mount_setattr ${place(dirfd, path)}`,
      has(flags, 0x8000) ? "recursive" : "",
      set === 0 ? "" : `set ${attributes(set)}`,
      clear === 0 ? "" : `clear ${attributes(clear)}`,
      propagation === 0 ? "" : (PROPAGATIONS[Number(propagation)] ?? plain(propagation)),
    ]
      .filter((word) => word !== "")
      .join(" "),
  target: ([fd, root, path, kind, , flags]) =>
    `target ${plain(path)} in ${plain(root)}${["", ", directory", ", file", ", like its source"][Number(kind)] ?? ""}${has(flags, 4) ? ", nofollow" : ""} as ${plain(fd)}`,
  attach: ([fd, target]) => `move_mount ${plain(fd)} to ${plain(target)}`,
  mount: ([source, target, type, , data]) =>
    `mount ${plain(source)} ${plain(target)} type ${plain(type)} ${plain(data)}`,
  copyTree: ([from, to]) => `copy what is in ${plain(from)} to ${plain(to)}`,
  removeTree: ([path]) => `remove ${plain(path)} and all below`,
  mknod: ([, path, mode, rdev, uid, gid]) =>
    `mknod ${plain(path)} ${nodeName(Number(mode), Number(rdev))} mode ${octal(Number(mode) & 0o7777)} owner ${plain(uid)}:${plain(gid)}`,
  symlink: ([, to, path, exact]) => `symlink ${plain(path)} -> ${plain(to)}${exact === 1 ? ", no other" : ""}`,
  mask: ([root, path]) => `mask ${plain(path)} in ${plain(root)}`,
  readonly: ([root, path]) => `read-only ${plain(path)} in ${plain(root)}`,
  checkDevice: ([fd, type, rdev]) => `check that ${plain(fd)} is ${nodeName(Number(type), Number(rdev))}`,
  checkMount: ([fd, magic, root, path]) =>
    `check that ${plain(fd)} has magic 0x${Number(magic).toString(16)}${root === -1 ? "" : ` and is ${plain(path)} in ${plain(root)}`}`,
  pivot: ([root]) => `pivot_root ${plain(root)}`,
  unmount: ([root, path]) => `umount ${plain(path)} in ${plain(root)}`,
  detach: ([path]) => `umount ${plain(path)}`,
  moveRoot: ([root]) => `move root ${plain(root)}, chroot`,
  chroot: ([root]) => `chroot ${plain(root)}`,
  fchown: ([fd, uid, gid]) => `fchown ${plain(fd)} ${plain(uid)}:${plain(gid)}`,
  enter: ([path]) => `chdir ${plain(path)}, unless only the user may`,
  stdio: ([uid]) => `fchown 0 to 2 ${plain(uid)}`,
  umask: ([mask]) => `umask ${octal(Number(mask))}`,
  noNewPrivs: () => "no_new_privs",
  affinity: ([mask]) => `sched_setaffinity ${cpuList(mask as Uint8Array)}`,
  schedAttr: ([attr]) => `sched_setattr ${schedule(attr as Uint8Array)}`,
  ioPriority: ([value]) => `ioprio_set class ${Number(value) >> 13} priority ${Number(value) & 0x1fff}`,
  memoryPolicy: ([mode, nodes]) => `set_mempolicy ${plain(mode)} nodes ${cpuList(nodes as Uint8Array)}`,
  personality: ([domain]) => `personality ${Number(domain) === 8 ? "LINUX32" : "LINUX"}`,
  boundingSet: ([keep]) => `bounding set ${capabilities(keep)}`,
  user: ([uid, gid, , groups]) => `user ${plain(uid)} group ${plain(gid)} groups ${list(groups)}`,
  capabilities: ([effective, permitted, inheritable, ambient]) =>
    `capabilities effective ${capabilities(effective)} permitted ${capabilities(permitted)} inheritable ${capabilities(inheritable)} ambient ${capabilities(ambient)}`,
  seccomp: ([flags, program]) =>
    `seccomp filter of ${(program as Uint8Array).length / 8} instructions, flags ${plain(flags)}`,
  findExecutable: ([paths]) => `find executable ${list(paths)}`,
  await: ([tag]) => `wait for the runtime (${WAITS[Number(tag)] ?? plain(tag)})`,
  receive: ([tag, fd]) => `wait for the runtime (${WAITS[Number(tag)] ?? plain(tag)}) as ${plain(fd)}`,
  endOnSignals: ([mask]) => `end on signals ${signals(mask)}`,
  awaitStart: () => "wait for start",
  cloexecFrom: ([first]) => `close_range ${plain(first)} at exec`,
  exec: ([argv, envp]) => `execve ${list(argv)} with ${(envp as readonly string[]).length} variables`,
};

/** By the tags of `await`. */
const WAITS: readonly string[] = [
  "",
  "id maps",
  "ready",
  "hooks",
  "startContainer hooks",
  "network devices",
  "listener",
  "cgroup",
  "source of a mount",
];

const PROPAGATIONS: Record<number, string> = {
  131072: "unbindable",
  262144: "private",
  524288: "slave",
  1048576: "shared",
};

const ATTRIBUTES: readonly (readonly [number, string])[] = [
  [0x1, "rdonly"],
  [0x2, "nosuid"],
  [0x4, "nodev"],
  [0x8, "noexec"],
  [0x10, "noatime"],
  [0x20, "strictatime"],
  [0x80, "nodiratime"],
  [0x200000, "nosymfollow"],
];

function attributes(bits: StepArg | undefined): string {
  return names(Number(bits), ATTRIBUTES) || "-";
}

function namespaces(bits: StepArg | undefined): string {
  return names(Number(bits), CLONE_NAMES) || "no new namespace";
}

function names(bits: number, table: readonly (readonly [number, string])[]): string {
  return table
    .filter(([bit]) => (bits & bit) === bit)
    .map(([, name]) => name)
    .join(",");
}

/** Numbers of the bits that are set, or "all". */
function cpuList(mask: Uint8Array): string {
  if (mask.length > 64 && mask.every((byte) => byte === 0xff)) return "all";
  const bits: number[] = [];
  for (let i = 0; i < mask.length * 8; i++) if (((mask[i >> 3] ?? 0) >> (i & 7)) & 1) bits.push(i);
  return bits.join(",") || "none";
}

function schedule(attr: Uint8Array): string {
  if (attr.length < 24) return `${attr.length} bytes`;
  const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
  return `policy ${view.getUint32(4, true)} nice ${view.getInt32(16, true)} priority ${view.getUint32(20, true)}`;
}

/** All of them, none, or their names. */
function capabilities(mask: StepArg | undefined): string {
  const bits = BigInt(mask as number | bigint);
  if (bits === 0n) return "none";
  const set = CAPABILITIES.filter((_, i) => ((bits >> BigInt(i)) & 1n) === 1n);
  return set.length === CAPABILITIES.length ? "all" : set.map((name) => name.slice(4).toLowerCase()).join(",");
}

/** Numbers of the signals of a sigset_t. */
function signals(mask: StepArg | undefined): string {
  const bits = BigInt(mask as number | bigint);
  const numbers = Array.from({ length: 64 }, (_, i) => i + 1);
  return numbers.filter((number) => ((bits >> BigInt(number - 1)) & 1n) === 1n).join(",");
}

function has(bits: StepArg | undefined, bit: number): boolean {
  return (Number(bits) & bit) !== 0;
}

/** A path below a descriptor, the descriptor itself, or a path of its own. */
function place(dirfd: StepArg | undefined, path: StepArg | undefined): string {
  if (path === "") return plain(dirfd);
  return dirfd === -1 ? plain(path) : `${plain(path)} in ${plain(dirfd)}`;
}

/** As linux.devices has it: "c 1:3". */
function nodeName(mode: number, rdev: number): string {
  const type = { [S_IFCHR]: "c", [S_IFBLK]: "b", [S_IFIFO]: "p" }[mode & 0o170000] ?? "?";
  return `${type} ${major(rdev)}:${minor(rdev)}`;
}

function major(rdev: number): number {
  return (rdev >>> 8) & 0xfff;
}

function minor(rdev: number): number {
  return (rdev & 0xff) + Math.floor(rdev / 0x100000) * 0x100;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

function list(arg: StepArg | undefined): string {
  return `[${(arg as readonly string[]).map(plain).join(" ")}]`;
}

/** Text that could be taken for something else, or for a control sequence, is quoted. */
function plain(arg: StepArg | undefined): string {
  if (typeof arg !== "string") return arg instanceof Uint8Array ? `${arg.length} bytes` : String(arg);
  return /^[\w./:=,@+%-]+$/.test(arg) ? arg : JSON.stringify(arg);
}

function kebab(op: string): string {
  return op.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
