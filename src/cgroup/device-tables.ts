/**
 * What an ordered list of device rules comes to, as tables to search: number by number, which accesses are allowed.
 * Rules: for each of read, write and mknod the last rule that speaks of it decides. Touches no file.
 */
import { ACCESS_ALL, type DeviceRule } from "./device-rules.ts";

/** What is decided of an access, and what of that is allowed: ACCESS_* bits. */
export interface Verdict {
  decided: number;
  allowed: number;
}

/** What holds from this number on, up to the next range. */
export interface Range<T> {
  from: number;
  what: T;
}

/** For each number of one kind, which is looked up first, the verdicts on each number of the other. */
export interface DeviceTable {
  first: "major" | "minor";
  ranges: Range<Range<Verdict>[]>[];
}

/** A table while rules are added to it, from the last to the first. */
interface Draft {
  first: DeviceTable["first"];
  /** On devices that no group speaks of. */
  rest: Verdict;
  groups: Map<number, Group>;
}

/** What is said of one number: of some devices with it, and of the others. */
interface Group {
  rest: Verdict;
  each: Map<number, Verdict>;
}

const NOTHING: Verdict = { decided: 0, allowed: 0 };

/**
 * The tables for the devices of one type, to be asked in this order: the next one decides what is not decided yet, and
 * the last one decides all. There is one, unless rules for a minor of all majors stand among those for all minors of a
 * major: the later one wins where such two cross, and a table of the crossings could have millions of entries.
 */
export function deviceTables(rules: readonly DeviceRule[], type: DeviceRule["type"]): DeviceTable[] {
  const drafts: Draft[] = [{ first: "major", rest: NOTHING, groups: new Map() }];
  for (const rule of rules.toReversed()) {
    let draft = drafts.at(-1) as Draft;
    // Nothing before this is ever asked.
    if (draft.rest.decided === ACCESS_ALL) break;
    if (rule.type !== type || !isPossible(rule)) continue;
    if (!fits(draft, rule)) {
      if (draft.groups.size === 0) drafts.pop();
      draft = { first: draft.first === "major" ? "minor" : "major", rest: draft.rest, groups: new Map() };
      drafts.push(draft);
    }
    addRule(draft, rule);
  }
  const last = drafts.at(-1) as Draft;
  // What no rule names is denied.
  last.rest = over(last.rest, { decided: ACCESS_ALL, allowed: 0 });
  return drafts.map(tableOf);
}

/** The kernel has 12 bits for a major and 20 for a minor number (MINORBITS): rules for larger ones match nothing. */
function isPossible({ major, minor }: DeviceRule): boolean {
  return major >= -1 && major < 2 ** 12 && minor >= -1 && minor < 2 ** 20;
}

function fits({ first }: Draft, { major, minor }: DeviceRule): boolean {
  return first === "major" ? major !== -1 || minor === -1 : minor !== -1 || major === -1;
}

/** A rule that comes before those which are in the draft. Of what it speaks of, later and wider ones have decided some. */
function addRule(draft: Draft, rule: DeviceRule): void {
  const [first, second] = draft.first === "major" ? [rule.major, rule.minor] : [rule.minor, rule.major];
  if (first === -1) {
    draft.rest = over(draft.rest, said(rule, NOTHING));
    return;
  }
  const group = draft.groups.get(first) ?? { rest: NOTHING, each: new Map() };
  draft.groups.set(first, group);
  if (second === -1) group.rest = over(group.rest, said(rule, draft.rest));
  else group.each.set(second, over(group.each.get(second) ?? NOTHING, said(rule, over(group.rest, draft.rest))));
}

function said({ allow, access }: DeviceRule, { decided }: Verdict): Verdict {
  const bits = access & ~decided;
  return { decided: bits, allowed: allow ? bits : 0 };
}

/** The first verdict, and the second on what that one leaves. */
function over(first: Verdict, second: Verdict): Verdict {
  return {
    decided: first.decided | second.decided,
    allowed: first.allowed | (second.allowed & ~first.decided),
  };
}

function tableOf({ first, rest, groups }: Draft): DeviceTable {
  const whole = new Map<number, Range<Verdict>[]>();
  for (const [number, group] of groups) {
    const others = over(group.rest, rest);
    const each = new Map([...group.each].map(([other, verdict]) => [other, over(verdict, others)] as const));
    whole.set(number, ranges(each, others, isSameVerdict));
  }
  return { first, ranges: ranges(whole, [{ from: 0, what: rest }], isSameRanges) };
}

/** Neighbours of which the same is said are one range. */
function ranges<T>(each: ReadonlyMap<number, T>, rest: T, isSame: (a: T, b: T) => boolean): Range<T>[] {
  const list: Range<T>[] = [];
  const add = (from: number, what: T) => {
    const last = list.at(-1);
    if (last === undefined || !isSame(last.what, what)) list.push({ from, what });
  };
  let next = 0;
  for (const number of [...each.keys()].sort((a, b) => a - b)) {
    if (number > next) add(next, rest);
    add(number, each.get(number) as T);
    next = number + 1;
  }
  add(next, rest);
  return list;
}

function isSameVerdict(a: Verdict, b: Verdict): boolean {
  return a.decided === b.decided && a.allowed === b.allowed;
}

function isSameRanges(a: Range<Verdict>[], b: Range<Verdict>[]): boolean {
  return a.length === b.length && a.every(({ from, what }, i) => from === b[i]?.from && isSameVerdict(what, b[i].what));
}
