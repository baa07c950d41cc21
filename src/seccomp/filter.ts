/**
 * The filter program: which architecture, which system call, which arguments. System calls are found by binary
 * search over ranges of numbers with one verdict; of a profile with 400 names some 100 ranges are left.
 * Source: seccomp(2), struct seccomp_data.
 */
import { type Abi, NATIVE, type NativeArchitecture, X32 } from "./architectures.ts";
import { Assembler, type Target, TEST, verdict } from "./assembler.ts";
import {
  type Condition,
  type Decision,
  type Decisions,
  NO_RULES,
  RET_ERRNO_ENOSYS,
  RET_KILL_THREAD,
  type Rule,
} from "./rules.ts";
import { isNumber, multiplexed, syscallTable } from "./syscalls.ts";

/** Offsets in struct seccomp_data. */
const NR = 0;
const ARCH = 4;
const ARGS = 16;

const X32_SYSCALL_BIT = 0x40000000;

export interface FilterRequest extends Decisions {
  native: NativeArchitecture;
  /** SCMP_ARCH_* of the profile; the native one is always in it. */
  architectures: ReadonlySet<string>;
  /** Do system calls newer than all the profile names fail with ENOSYS instead of the default action? */
  enosys: boolean;
}

/** A call of an architecture that is not in the profile kills its thread, as libseccomp's "bad arch" action does. */
export function buildFilter(request: FilterRequest): Uint8Array {
  const asm = new Assembler();
  const { own, others } = NATIVE[request.native];
  let dispatch: Target = verdict(RET_KILL_THREAD);
  // From the end of the program to its start: the native architecture is tested first.
  const entries: [Abi, Target][] = [];
  for (const abi of others) {
    if (request.architectures.has(abi.profileName)) entries.push([abi, calls(asm, abi, request)]);
  }
  entries.push([own, calls(asm, own, request)]);
  for (const [abi, entry] of entries) dispatch = asm.test(TEST.EQ, abi.audit, entry, dispatch);
  return asm.finish(asm.load(ARCH, dispatch));
}

/** Ranges of system call numbers: range i goes from `starts[i]` up to `starts[i + 1]`. */
interface Ranges {
  starts: number[];
  decisions: Decision[];
  /** The number after the last one that the profile names. */
  end: number;
}

/** What happens to the system calls of one audit architecture. */
function calls(asm: Assembler, abi: Abi, request: FilterRequest): Target {
  const { byName, defaultAction } = request;
  const unknown = request.enosys ? RET_ERRNO_ENOSYS : defaultAction;
  const rules = abi.name === "i386" ? multiplexers(byName) : byName;
  const ranges = tableRanges(syscallTable(abi.name), 0, rules, request);
  if (ranges.end > 0) addRange(ranges, ranges.end, unknown);
  if (abi.name !== "x86_64") {
    return asm.load(NR, search(asm, ranges, 0, ranges.starts.length, abi.wide, defaultAction));
  }
  let x32: Target = verdict(RET_KILL_THREAD);
  if (request.architectures.has(X32.profileName)) {
    const x32Ranges = tableRanges(syscallTable("x32"), X32_SYSCALL_BIT, byName, request);
    if (x32Ranges.end > X32_SYSCALL_BIT) addRange(x32Ranges, x32Ranges.end, unknown);
    x32 = search(asm, x32Ranges, 0, x32Ranges.starts.length, X32.wide, defaultAction);
  } else {
    // A tracer sets -1 to skip a call, and the filter is asked again: that is no call of x32.
    x32 = asm.test(TEST.EQ, 0xffffffff, verdict(defaultAction), x32);
  }
  const own = search(asm, ranges, 0, ranges.starts.length, abi.wide, defaultAction);
  return asm.load(NR, asm.test(TEST.GE, X32_SYSCALL_BIT, x32, own));
}

/** Finds the numbers of a table, counted from `offset`, for which the profile says something. */
function tableRanges(
  words: readonly string[],
  offset: number,
  byName: ReadonlyMap<string, Decision>,
  { defaultAction }: FilterRequest,
): Ranges {
  const ranges: Ranges = { starts: [offset], decisions: [defaultAction], end: offset };
  let number = offset;
  let end = offset;
  let last: Decision = defaultAction;
  for (let i = 0; i < words.length; i++, number++) {
    const word = words[i] as string;
    let decision = byName.get(word);
    if (decision === undefined) {
      if (isNumber(word)) number = offset + Number(word) - 1;
      continue;
    }
    if (decision === NO_RULES) decision = defaultAction;
    if (number > end && last !== defaultAction) addRange(ranges, end, defaultAction);
    if (decision !== last || number > end) addRange(ranges, number, decision);
    last = decision;
    end = number + 1;
  }
  ranges.end = end;
  return ranges;
}

/** From `start` on, `decision`. A start that is there already is decided anew. */
function addRange({ starts, decisions }: Ranges, start: number, decision: Decision): void {
  let last = starts.length - 1;
  if (starts[last] === start) {
    starts.pop();
    decisions.pop();
    last--;
  }
  if (last >= 0 && decisions[last] === decision) return;
  starts.push(start);
  decisions.push(decision);
}

/**
 * socketcall(2) and ipc(2) of i386 where the profile has rules for what they carry: the first argument says which
 * call it is. Its own arguments lie behind a pointer, where no filter can look; as in libseccomp, conditions on
 * arguments after the first are compared with those of the multiplexer itself.
 */
function multiplexers(byName: Map<string, Decision>): Map<string, Decision> {
  // What engines write allows both as they are.
  if (typeof byName.get("socketcall") === "number" && typeof byName.get("ipc") === "number") return byName;
  let found = byName;
  const tables = multiplexed();
  for (const gate of ["socketcall", "ipc"] as const) {
    const own = byName.get(gate);
    if (typeof own === "number") continue;
    const rules: Rule[] = own === undefined ? [] : [...own];
    let call = 0;
    for (const word of tables[gate]) {
      if (isNumber(word)) call = Number(word);
      else addMultiplexed(rules, byName.get(word), call++);
    }
    if (rules.length > 0) found = new Map(found).set(gate, rules);
  }
  return found;
}

function addMultiplexed(rules: Rule[], decision: Decision | undefined, call: number): void {
  if (decision === undefined) return;
  const isCall: Condition = { index: 0, op: "EQ", high: 0, low: call, maskHigh: 0xffffffff, maskLow: 0xffffffff };
  if (typeof decision === "number") {
    rules.push({ action: decision, conditions: [isCall], entry: -1 });
    return;
  }
  for (const rule of decision) {
    rules.push({ ...rule, conditions: [isCall, ...rule.conditions.filter(({ index }) => index !== 0)] });
  }
}

/** Decides among the ranges from `from` up to `to` with the number in the accumulator. */
function search(
  asm: Assembler,
  ranges: Ranges,
  from: number,
  to: number,
  wide: boolean,
  defaultAction: number,
): Target {
  if (to - from === 1) {
    const decision = ranges.decisions[from] as Decision;
    return typeof decision === "number" ? verdict(decision) : ruleList(asm, decision, wide, defaultAction);
  }
  const middle = (from + to) >>> 1;
  const upper = search(asm, ranges, middle, to, wide, defaultAction);
  const lower = search(asm, ranges, from, middle, wide, defaultAction);
  return asm.test(TEST.GE, ranges.starts[middle] as number, upper, lower);
}

/** Tries rules in order; when none holds, the default action. */
function ruleList(asm: Assembler, rules: readonly Rule[], wide: boolean, defaultAction: number): Target {
  let next = verdict(defaultAction);
  for (let i = rules.length - 1; i >= 0; i--) {
    const { action, conditions } = rules[i] as Rule;
    let target = verdict(action);
    for (let j = conditions.length - 1; j >= 0; j--) {
      target = compare(asm, conditions[j] as Condition, wide, target, next);
    }
    next = target;
  }
  return next;
}

/** Goes on at `yes` when the condition holds, else at `no`. */
function compare(asm: Assembler, condition: Condition, wide: boolean, yes: Target, no: Target): Target {
  const { op, high, low } = condition;
  const offset = ARGS + 8 * condition.index;
  switch (op) {
    case "EQ":
      return equal(asm, offset, condition, wide, yes, no);
    case "MASKED_EQ":
      return equal(asm, offset, condition, wide, yes, no);
    case "NE":
      return equal(asm, offset, condition, wide, no, yes);
    case "GT":
      return above(asm, offset, TEST.GT, high, low, wide, yes, no);
    case "GE":
      return above(asm, offset, TEST.GE, high, low, wide, yes, no);
    case "LT":
      return above(asm, offset, TEST.GE, high, low, wide, no, yes);
    case "LE":
      return above(asm, offset, TEST.GT, high, low, wide, no, yes);
  }
}

function equal(asm: Assembler, offset: number, c: Condition, wide: boolean, yes: Target, no: Target): Target {
  const rest = equalWord(asm, offset, c.low, c.maskLow, yes, no);
  return wide ? equalWord(asm, offset + 4, c.high, c.maskHigh, rest, no) : rest;
}

function equalWord(asm: Assembler, offset: number, value: number, mask: number, yes: Target, no: Target): Target {
  if (mask === 0) return yes;
  const test = asm.test(TEST.EQ, value, yes, no);
  return asm.load(offset, mask === 0xffffffff ? test : asm.and(mask, test));
}

function above(
  asm: Assembler,
  offset: number,
  test: number,
  high: number,
  low: number,
  wide: boolean,
  yes: Target,
  no: Target,
): Target {
  const lower = asm.load(offset, asm.test(test, low, yes, no));
  if (!wide) return lower;
  const same = asm.test(TEST.EQ, high, lower, no);
  return asm.load(offset + 4, asm.test(TEST.GT, high, yes, same));
}
