/**
 * Device rules as writes to the v1 devices controller. Touches no file.
 * Rules: kernel cgroup-v1/devices.rst, security/device_cgroup.c.
 *
 * The kernel keeps one answer for every device and a list of exceptions to it, all of them the other way. Rules that
 * undo one another are therefore settled here, and what is written is the outcome.
 */
import { SpecError } from "../../errors.ts";
import { ACCESS_ALL, ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, type DeviceRule } from "../device-rules.ts";
import type { CgroupWrite } from "../write.ts";

/** What deviceWrites gives for the default rules; written out, as most containers have no others. */
export const DEFAULT_DEVICE_WRITES: readonly CgroupWrite[] = [
  { file: "devices.deny", value: "a" },
  { file: "devices.allow", value: "c *:* m" },
  { file: "devices.allow", value: "b *:* m" },
  { file: "devices.allow", value: "c 1:3 rwm" },
  { file: "devices.allow", value: "c 1:8 rwm" },
  { file: "devices.allow", value: "c 1:7 rwm" },
  { file: "devices.allow", value: "c 5:0 rwm" },
  { file: "devices.allow", value: "c 1:5 rwm" },
  { file: "devices.allow", value: "c 1:9 rwm" },
  { file: "devices.allow", value: "c 136:* rwm" },
  { file: "devices.allow", value: "c 5:2 rwm" },
  { file: "devices.allow", value: "c 10:200 rwm" },
];

/** @throws SpecError for rules that v1 cannot express: one that makes a hole in an earlier, wider one */
export function deviceWrites(rules: readonly DeviceRule[]): CgroupWrite[] {
  const { allow, exceptions } = settle(rules);
  const writes: CgroupWrite[] = [{ file: allow ? "devices.allow" : "devices.deny", value: "a" }];
  const file = allow ? "devices.deny" : "devices.allow";
  for (const { type, major, minor, access } of exceptions) {
    writes.push({ file, value: `${type} ${star(major)}:${star(minor)} ${letters(access)}` });
  }
  return writes;
}

interface Settled {
  /** The answer for every device. */
  allow: boolean;
  /** All of them the other way. */
  exceptions: DeviceRule[];
}

/** What the rules come to. @throws SpecError as deviceWrites */
export function settle(rules: readonly DeviceRule[]): Settled {
  let allow = false;
  let exceptions: DeviceRule[] = [];
  rules.forEach((rule, i) => {
    if (coversAll(rules, i)) {
      allow = rule.allow;
      exceptions = [];
    } else if (rule.allow !== allow) {
      addException(exceptions, rule);
    } else {
      exceptions = exceptions.flatMap((exception) => reduce(exception, rule));
    }
  });
  return { allow, exceptions };
}

/** Is this rule, with the one before it, `a *:* rwm`? (deviceRules writes that as b, then c.) */
function coversAll(rules: readonly DeviceRule[], i: number): boolean {
  const rule = rules[i] as DeviceRule;
  const before = rules[i - 1];
  return (
    isWhole(rule) && before !== undefined && isWhole(before) && before.type !== rule.type && before.allow === rule.allow
  );
}

function isWhole({ major, minor, access }: DeviceRule): boolean {
  return major === -1 && minor === -1 && access === ACCESS_ALL;
}

function addException(exceptions: DeviceRule[], rule: DeviceRule): void {
  const same = exceptions.find((e) => e.type === rule.type && e.major === rule.major && e.minor === rule.minor);
  if (same === undefined) exceptions.push({ ...rule });
  else same.access |= rule.access;
}

/** What stays of an exception after a later rule that says the opposite. */
function reduce(exception: DeviceRule, rule: DeviceRule): DeviceRule[] {
  const overlap = exception.access & rule.access;
  if (exception.type !== rule.type || overlap === 0) return [exception];
  if (!meets(exception.major, rule.major) || !meets(exception.minor, rule.minor)) return [exception];
  const covered =
    (rule.major === -1 || rule.major === exception.major) && (rule.minor === -1 || rule.minor === exception.minor);
  if (!covered) {
    const text = `${rule.type} ${star(rule.major)}:${star(rule.minor)} ${letters(rule.access)}`;
    const wide = `${exception.type} ${star(exception.major)}:${star(exception.minor)} ${letters(exception.access)}`;
    const message = `cgroup v1 cannot ${rule.allow ? "allow" : "deny"} ${text} after ${rule.allow ? "denying" : "allowing"} ${wide}`;
    throw new SpecError([{ path: "linux.resources.devices", message }]);
  }
  const access = exception.access & ~rule.access;
  return access === 0 ? [] : [{ ...exception, access }];
}

function meets(a: number, b: number): boolean {
  return a === -1 || b === -1 || a === b;
}

function star(number: number): string {
  return number === -1 ? "*" : String(number);
}

function letters(access: number): string {
  return `${access & ACCESS_READ ? "r" : ""}${access & ACCESS_WRITE ? "w" : ""}${access & ACCESS_MKNOD ? "m" : ""}`;
}
