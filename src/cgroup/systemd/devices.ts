/**
 * Device rules as properties of a unit, for cgroup v1, where systemd writes the devices files again from what it knows
 * whenever it reloads. On v2 it attaches nothing unless it is told rules, and our own eBPF program stays: what was
 * opened to a container later, as a GPU's hook does, is still open after `systemctl daemon-reload`.
 * Rules: systemd.resource-control(5) "DeviceAllow=". Touches no file.
 */
import { TsrunError } from "../../errors.ts";
import { ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, allowsEverything, type DeviceRule } from "../device-rules.ts";
import type { UnitProperty } from "./properties.ts";

/**
 * @param majors /proc/devices, which has the names that systemd knows majors by
 * @throws TsrunError for rules that no list of allowed devices can say
 */
export function deviceProperties(rules: readonly DeviceRule[], majors: string): UnitProperty[] {
  if (allowsEverything(rules)) return [["DevicePolicy", { signature: "s", value: "auto" }]];
  const allowed = allowedOnly(rules);
  const entries: [string, string][] = [];
  for (const rule of allowed) {
    const access = letters(rule.access);
    for (const node of nodesOf(rule, majors)) entries.push([node, access]);
  }
  return [
    ["DevicePolicy", { signature: "s", value: "strict" }],
    ["DeviceAllow", { signature: "a(ss)", value: entries }],
  ];
}

/** Rules that allow, after those that deny have taken what they name; a rule for all devices takes everything. */
function allowedOnly(rules: readonly DeviceRule[]): DeviceRule[] {
  let allowed: DeviceRule[] = [];
  for (const rule of rules) {
    if (rule.allow) {
      allowed.push(rule);
      continue;
    }
    const rest: DeviceRule[] = [];
    for (const one of allowed) {
      if (one.type !== rule.type || !overlaps(one, rule) || (one.access & rule.access) === 0) {
        rest.push(one);
        continue;
      }
      if (!covers(rule, one)) {
        throw new TsrunError(
          `device ${describe(rule)} cannot be denied while ${describe(one)} is allowed: systemd keeps a list of allowed devices`,
          { fix: "allow the devices one by one, or leave out --systemd-cgroup" },
        );
      }
      const access = one.access & ~rule.access;
      if (access !== 0) rest.push({ ...one, access });
    }
    allowed = rest;
  }
  return allowed;
}

function overlaps(a: DeviceRule, b: DeviceRule): boolean {
  return meet(a.major, b.major) && meet(a.minor, b.minor);
}

function meet(a: number, b: number): boolean {
  return a === -1 || b === -1 || a === b;
}

function covers(wide: DeviceRule, narrow: DeviceRule): boolean {
  return (wide.major === -1 || wide.major === narrow.major) && (wide.minor === -1 || wide.minor === narrow.minor);
}

function describe({ type, major, minor }: DeviceRule): string {
  return `${type} ${major === -1 ? "*" : major}:${minor === -1 ? "*" : minor}`;
}

/** How systemd names what a rule is for; nothing for a minor of all majors and for a major that no driver has. */
function nodesOf({ type, major, minor }: DeviceRule, majors: string): string[] {
  const kind = type === "c" ? "char" : "block";
  if (major === -1) return minor === -1 ? [`${kind}-*`] : [];
  if (minor !== -1) return [`/dev/${kind}/${major}:${minor}`];
  return namesOf(kind, major, majors).map((name) => `${kind}-${name}`);
}

/** Names that a major has in proc_devices(5): "136 pts" below "Character devices:". */
function namesOf(kind: "char" | "block", major: number, majors: string): string[] {
  const start = majors.indexOf(kind === "char" ? "Character devices:" : "Block devices:");
  if (start < 0) return [];
  const end = majors.indexOf("\n\n", start);
  const names: string[] = [];
  for (const line of majors.slice(start, end < 0 ? undefined : end).split("\n")) {
    const match = /^\s*(\d+) (\S+)$/.exec(line);
    if (match !== null && Number(match[1]) === major) names.push(match[2] as string);
  }
  return names;
}

function letters(access: number): string {
  return `${access & ACCESS_READ ? "r" : ""}${access & ACCESS_WRITE ? "w" : ""}${access & ACCESS_MKNOD ? "m" : ""}`;
}
