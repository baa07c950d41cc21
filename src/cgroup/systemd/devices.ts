/**
 * Device rules as properties of a unit, for cgroup v1, where systemd writes the devices files again from what it knows
 * whenever it reloads. On v2 it attaches nothing unless it is told rules, and our own eBPF program stays: what was
 * opened to a container later, as a GPU's hook does, is still open after `systemctl daemon-reload`.
 * Rules: systemd.resource-control(5) "DeviceAllow=". Touches no file.
 */
import { ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE, type DeviceRule } from "../device-rules.ts";
import { settle } from "../v1/devices.ts";
import type { UnitProperty } from "./properties.ts";

/**
 * What is no list for systemd (isList) it is told of as far as it goes, and kept from the files: see keepDeviceRules.
 *
 * @param majors /proc/devices, which has the names that an older systemd knows majors by
 * @throws SpecError for rules that v1 cannot express
 */
export function deviceProperties(rules: readonly DeviceRule[], majors: string): UnitProperty[] {
  const { allow, exceptions } = settle(rules);
  if (allow) return [["DevicePolicy", { signature: "s", value: "auto" }]];
  const entries: [string, string][] = [];
  for (const rule of exceptions) {
    const access = letters(rule.access);
    for (const node of nodesOf(rule, majors)) entries.push([node, access]);
  }
  return [
    ["DevicePolicy", { signature: "s", value: "strict" }],
    ["DeviceAllow", { signature: "a(ss)", value: entries }],
  ];
}

/**
 * Can systemd be told of all of these rules? It leaves the others out whenever it writes the devices files, and cannot be
 * told of exceptions to everything at all.
 */
export function isList(rules: readonly DeviceRule[]): boolean {
  const { allow, exceptions } = settle(rules);
  return allow ? exceptions.length === 0 : exceptions.every((rule) => nodesOf(rule, "").length > 0);
}

/**
 * How systemd names what a rule is for; nothing for a minor of all majors. A whole major goes by its number since systemd
 * 240, which is right for a driver that is loaded later, too; an older one finds nothing of that name.
 */
function nodesOf({ type, major, minor }: DeviceRule, majors: string): string[] {
  const kind = type === "c" ? "char" : "block";
  if (major === -1) return minor === -1 ? [`${kind}-*`] : [];
  if (minor !== -1) return [`/dev/${kind}/${major}:${minor}`];
  return [String(major), ...namesOf(kind, major, majors)].map((name) => `${kind}-${name}`);
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
