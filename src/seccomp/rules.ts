/**
 * From the entries of a profile to one decision for each system call name. Rules: OCI config-linux.md "Seccomp";
 * where it leaves something open, what libseccomp makes of the same profile, since that is what profiles were
 * tried with.
 */
import type { Problem } from "../errors.ts";
import { didYouMean, quote } from "../spec/text.ts";
import type { LinuxSeccomp, LinuxSeccompArg, LinuxSyscall } from "../spec/types.ts";
import { MAX_INSTRUCTIONS } from "./assembler.ts";

export const RET_USER_NOTIF = 0x7fc00000;
export const RET_LOG = 0x7ffc0000;
export const RET_ALLOW = 0x7fff0000;

/** SECCOMP_RET_* (linux/seccomp.h) by the name of a profile. */
const ACTIONS: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: RET_USER_NOTIF,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: RET_LOG,
  SCMP_ACT_ALLOW: RET_ALLOW,
};
const ACTION_NAMES: readonly string[] = Object.keys(ACTIONS);

export const RET_KILL_THREAD = 0;
export const RET_ERRNO_ENOSYS = 0x00050000 | 38;
const EPERM = 1;
/** Names can share instructions, so this is far more than the kernel takes; beyond it, rules are counted and no more. */
const MAX_MERGED = 16 * MAX_INSTRUCTIONS;
/** Enough for anybody to read. */
const MAX_PROBLEMS = 100;
/** The kernel cuts an errno above this off (include/linux/err.h MAX_ERRNO). */
const MAX_ERRNO = 4095;

const OPERATORS: Record<string, Operator> = {
  SCMP_CMP_NE: "NE",
  SCMP_CMP_LT: "LT",
  SCMP_CMP_LE: "LE",
  SCMP_CMP_EQ: "EQ",
  SCMP_CMP_GE: "GE",
  SCMP_CMP_GT: "GT",
  SCMP_CMP_MASKED_EQ: "MASKED_EQ",
};
const OPERATOR_NAMES: readonly string[] = Object.keys(OPERATORS);

export type Operator = "NE" | "LT" | "LE" | "EQ" | "GE" | "GT" | "MASKED_EQ";

/** One comparison of an argument; 64-bit values in halves, because BPF compares 32 bits at a time. */
export interface Condition {
  index: number;
  op: Operator;
  high: number;
  low: number;
  /** For MASKED_EQ: the bits that count. */
  maskHigh: number;
  maskLow: number;
}

/** When all conditions hold, the verdict is `action`. */
export interface Rule {
  action: number;
  conditions: readonly Condition[];
  /** The entry of the profile it came from. */
  entry: number;
}

/** A verdict whatever the arguments are, or rules in the order in which they are tried ([]: the default action). */
export type Decision = number | readonly Rule[];

export interface Decisions {
  defaultAction: number;
  byName: Map<string, Decision>;
}

/** Reads a profile; what is wrong with it is added to `problems`, and the result is then of no use. */
export function decisions(profile: LinuxSeccomp, problems: Problem[]): Decisions {
  const { defaultErrnoRet } = profile;
  const defaultAction = actionValue(profile.defaultAction, defaultErrnoRet, "default", problems);
  const byName = new Map<string, Decision>();
  const merged = new Map<string, Rule[]>();
  const entries = profile.syscalls ?? [];
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as LinuxSyscall;
    if (entry.names === undefined || entry.names.length === 0) {
      problems.push({ path: `linux.seccomp.syscalls[${i}].names`, message: "must name a system call" });
      continue;
    }
    const action = actionValue(entry.action, entry.errnoRet, i, problems);
    const rules = entry.args?.length ? entryRules(entry.args, action, i, problems) : undefined;
    addEntry(byName, merged, entry.names, action === defaultAction ? NO_RULES : (rules ?? action));
  }
  finishMerged(merged, problems);
  if (byName.has("")) problems.push({ path: "linux.seccomp.syscalls", message: "a system call has an empty name" });
  return { defaultAction, byName };
}

/** An entry with the default action decides nothing, but the profile knows the call. */
export const NO_RULES: readonly Rule[] = [];

/**
 * A verdict without arguments wins over rules with arguments, and the first such verdict over later ones.
 *
 * @param merged the lists that hold rules of more than one entry; they are no other name's
 */
function addEntry(
  byName: Map<string, Decision>,
  merged: Map<string, Rule[]>,
  names: readonly string[],
  decision: Decision,
): void {
  for (const name of names) {
    const earlier = byName.get(name);
    if (earlier === undefined) byName.set(name, decision);
    else if (typeof earlier === "number" || decision === NO_RULES) continue;
    else if (typeof decision === "number") byName.set(name, decision);
    else {
      const rules = merged.get(name) ?? [...earlier];
      merged.set(name, rules);
      byName.set(name, rules);
      for (const rule of decision) rules.push(rule);
    }
  }
}

/** Puts rules of several entries in order, when they can be a program at all. */
function finishMerged(merged: Map<string, Rule[]>, problems: Problem[]): void {
  let count = 0;
  for (const rules of merged.values()) count += rules.length;
  if (count > MAX_MERGED) {
    const message = `have ${count} rules about arguments; the kernel takes ${MAX_INSTRUCTIONS} instructions in all`;
    problems.push({ path: "linux.seccomp.syscalls", message });
    return;
  }
  for (const [name, rules] of merged) {
    const first = rules[0] as Rule;
    if (rules.every(({ action }) => action === first.action)) continue;
    checkContradictions(name, rules, problems);
    rules.sort(compareRules);
  }
}

/** One call cannot have two verdicts; libseccomp refuses such rules too. */
function checkContradictions(name: string, rules: readonly Rule[], problems: Problem[]): void {
  const byConditions = new Map<string, Rule[]>();
  for (const rule of rules) {
    const key = JSON.stringify(rule.conditions);
    const same = byConditions.get(key) ?? [];
    byConditions.set(key, same);
    for (const other of same) {
      if (problems.length >= MAX_PROBLEMS) return;
      if (other.action === rule.action) continue;
      const message = `decides otherwise than linux.seccomp.syscalls[${other.entry}] about the same calls of ${quote(name)}`;
      problems.push({ path: `linux.seccomp.syscalls[${rule.entry}]`, message });
    }
    same.push(rule);
  }
}

/** The rules of an entry with arguments; undefined when its conditions always hold. */
function entryRules(
  args: readonly LinuxSeccompArg[],
  action: number,
  entry: number,
  problems: Problem[],
): Rule[] | undefined {
  const conditions: Condition[] = [];
  let seen = 0;
  let isRepeated = false;
  let someAlways = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as LinuxSeccompArg;
    const op = checkedOperator(arg, `linux.seccomp.syscalls[${entry}].args[${i}]`, problems);
    if (op === undefined) continue;
    isRepeated ||= (seen & (1 << arg.index)) !== 0;
    seen |= 1 << arg.index;
    const one = condition(arg, op);
    if (holdsAlways(one)) someAlways = true;
    else insert(conditions, one);
  }
  // Two comparisons of one argument: libseccomp takes an argument once in a rule, so runc and crun have always
  // made a rule of each comparison, and profiles rely on "or".
  if (isRepeated ? someAlways : conditions.length === 0) return undefined;
  if (!isRepeated) return [{ action, conditions, entry }];
  return conditions.map((one) => ({ action, conditions: [one], entry }));
}

/** In the order of the arguments. */
function insert(conditions: Condition[], one: Condition): void {
  let at = conditions.length;
  while (at > 0 && (conditions[at - 1] as Condition).index > one.index) at--;
  conditions.splice(at, 0, one);
}

function checkedOperator(arg: LinuxSeccompArg, path: string, problems: Problem[]): Operator | undefined {
  const op = Object.hasOwn(OPERATORS, arg.op) ? OPERATORS[arg.op] : undefined;
  if (op === undefined) {
    const guess = didYouMean(String(arg.op), OPERATOR_NAMES);
    problems.push({ path: `${path}.op`, message: `unknown operator ${quote(arg.op)}${guess}` });
  }
  const isIndex = Number.isInteger(arg.index) && arg.index >= 0 && arg.index < 6;
  if (!isIndex) {
    problems.push({ path: `${path}.index`, message: `a system call has arguments 0 to 5, not ${quote(arg.index)}` });
  }
  const isExact = isUint64(arg.value, `${path}.value`, problems);
  const isExactTwo = isUint64(arg.valueTwo ?? 0, `${path}.valueTwo`, problems);
  return isIndex && isExact && isExactTwo ? op : undefined;
}

function condition({ index, value, valueTwo }: LinuxSeccompArg, op: Operator): Condition {
  if (op !== "MASKED_EQ") return { index, op, high: high(value), low: low(value), maskHigh: ALL, maskLow: ALL };
  const maskHigh = high(value);
  const maskLow = low(value);
  return {
    index,
    op,
    high: (high(valueTwo ?? 0) & maskHigh) >>> 0,
    low: (low(valueTwo ?? 0) & maskLow) >>> 0,
    maskHigh,
    maskLow,
  };
}

const ALL = 0xffffffff;

function high(value: number | bigint): number {
  return typeof value === "bigint" ? Number(value >> 32n) : Math.floor(value / 0x100000000);
}

function low(value: number | bigint): number {
  return typeof value === "bigint" ? Number(value & 0xffffffffn) : value >>> 0;
}

function holdsAlways({ op, maskHigh, maskLow }: Condition): boolean {
  return op === "MASKED_EQ" && maskHigh === 0 && maskLow === 0;
}

const PRIORITY: Record<Operator, number> = { EQ: 3, NE: 3, MASKED_EQ: 3, LE: 2, LT: 2, GE: 1, GT: 1 };

/**
 * Rules with different actions that hold for the same call: libseccomp tries them in an order of its own, whatever
 * the order of the profile, and so do we: by argument, last first; then equalities, then upper bounds from the
 * smallest, then lower bounds from the largest.
 */
function compareRules(one: Rule, other: Rule): number {
  const a = one.conditions[0] as Condition;
  const b = other.conditions[0] as Condition;
  const downwards = b.index - a.index || PRIORITY[b.op] - PRIORITY[a.op];
  if (downwards !== 0) return downwards;
  const byValue = b.high - a.high || b.low - a.low;
  return PRIORITY[a.op] === 2 ? -byValue : byValue;
}

function actionValue(
  name: string,
  errnoRet: number | undefined,
  entry: number | "default",
  problems: Problem[],
): number {
  const value = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (value === undefined || (name === "SCMP_ACT_NOTIFY" && entry === "default")) {
    const path = entry === "default" ? "linux.seccomp.defaultAction" : `linux.seccomp.syscalls[${entry}].action`;
    const message =
      value === undefined
        ? `unknown action ${quote(name)}${didYouMean(String(name), ACTION_NAMES)}`
        : "SCMP_ACT_NOTIFY cannot be used as default action: nobody could hand the listener over";
    problems.push({ path, message });
    return 0;
  }
  const takesErrno = name === "SCMP_ACT_ERRNO" || name === "SCMP_ACT_TRACE";
  if (errnoRet === undefined || errnoRet === null) return takesErrno ? value | EPERM : value;
  const path = entry === "default" ? "linux.seccomp.defaultErrnoRet" : `linux.seccomp.syscalls[${entry}].errnoRet`;
  const most = name === "SCMP_ACT_TRACE" ? 0xffff : MAX_ERRNO;
  if (!takesErrno) problems.push({ path, message: `${name} returns no errno` });
  else if (!(Number.isInteger(errnoRet) && errnoRet >= 0 && errnoRet <= most)) {
    problems.push({ path, message: `must be a number from 0 to ${most}, not ${quote(errnoRet)}` });
  }
  return value | errnoRet;
}

function isUint64(value: unknown, path: string, problems: Problem[]): boolean {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return true;
  if (typeof value === "bigint" && value >= 0n && value <= 0xffffffffffffffffn) return true;
  const message =
    typeof value === "number" && value > Number.MAX_SAFE_INTEGER
      ? "is beyond 2^53, where a JavaScript number is not exact: give a bigint"
      : `must be a number from 0 to 2^64-1, not ${quote(value)}`;
  problems.push({ path, message });
  return false;
}
