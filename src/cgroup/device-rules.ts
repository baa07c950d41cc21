/**
 * Which devices a container may use: `linux.resources.devices` followed by what runc always allows.
 * Rules: OCI config-linux.md "Allowed Device list"; later rules win over earlier ones. Touches no file.
 */
import { SpecError } from "../errors.ts";
import type { LinuxDevice, LinuxDeviceCgroup } from "../spec/types.ts";

/** Bits of BPF_DEVCG_ACC_*, linux/bpf.h. */
export const ACCESS_MKNOD = 1;
export const ACCESS_READ = 2;
export const ACCESS_WRITE = 4;
export const ACCESS_ALL = 7;

/** A rule for one kind of device. */
export interface DeviceRule {
  allow: boolean;
  type: "b" | "c";
  /** -1 for all. */
  major: number;
  minor: number;
  /** ACCESS_* bits. */
  access: number;
}

const [m, rwm] = [ACCESS_MKNOD, ACCESS_ALL];

/** runc's list (libcontainer/specconv AllowedDevices): a node of any device may be made, these may be opened. */
const DEFAULTS: readonly (readonly [type: "b" | "c", major: number, minor: number, access: number, path: string])[] = [
  ["c", -1, -1, m, ""],
  ["b", -1, -1, m, ""],
  ["c", 1, 3, rwm, "/dev/null"],
  ["c", 1, 8, rwm, "/dev/random"],
  ["c", 1, 7, rwm, "/dev/full"],
  ["c", 5, 0, rwm, "/dev/tty"],
  ["c", 1, 5, rwm, "/dev/zero"],
  ["c", 1, 9, rwm, "/dev/urandom"],
  // /dev/pts/*, /dev/ptmx, /dev/net/tun
  ["c", 136, -1, rwm, ""],
  ["c", 5, 2, rwm, ""],
  ["c", 10, 200, rwm, ""],
];

/**
 * The rules in order; what none of them names is denied. Like runc, a device of `linux.devices` is not allowed for
 * being there (engines send a rule with it); one that takes the path of a default device drops that one's rule.
 *
 * @throws SpecError for an unknown type or access letter
 */
export function deviceRules(
  rules: readonly LinuxDeviceCgroup[] = [],
  devices: readonly LinuxDevice[] = [],
): DeviceRule[] {
  const list: DeviceRule[] = [];
  rules.forEach((rule, i) => {
    const where = `linux.resources.devices[${i}]`;
    const { allow, major = -1, minor = -1 } = rule;
    const type = rule.type || "a";
    const access = accessBits(rule.access, where);
    if (type !== "a" && type !== "b" && type !== "c" && type !== "u") {
      throw new SpecError([{ path: `${where}.type`, message: `${JSON.stringify(type)} is not a, b or c` }]);
    }
    for (const kind of type === "a" ? (["b", "c"] as const) : ([type === "b" ? "b" : "c"] as const)) {
      list.push({ allow, type: kind, major, minor, access });
    }
  });
  for (const [type, major, minor, access, path] of DEFAULTS) {
    if (path !== "" && devices.some((device) => device.path === path)) continue;
    list.push({ allow: true, type, major, minor, access });
  }
  return list;
}

/**
 * Do these come to the default rules alone? That is so for `runc spec`, and for a config without rules: what is then
 * installed is known beforehand.
 */
export function isDefaultRules(
  rules: readonly LinuxDeviceCgroup[] = [],
  devices: readonly LinuxDevice[] = [],
): boolean {
  return devices.length === 0 && !rules.some((rule) => rule.allow);
}

/** Without letters: all access. runc refuses that; the spec makes the field optional. */
function accessBits(letters: string | undefined, where: string): number {
  if (letters === undefined || letters === "") return ACCESS_ALL;
  let bits = 0;
  for (const letter of letters) {
    const bit = letter === "r" ? ACCESS_READ : letter === "w" ? ACCESS_WRITE : letter === "m" ? ACCESS_MKNOD : 0;
    bits |= bit;
  }
  if (bits !== 0) return bits;
  throw new SpecError([{ path: `${where}.access`, message: `${JSON.stringify(letters)} has none of r, w and m` }]);
}

/** Do the rules allow everything? Then nothing needs to be installed. */
export function allowsEverything(rules: readonly DeviceRule[]): boolean {
  const open = (type: "b" | "c") => {
    let bits = 0;
    for (let i = rules.length - 1; i >= 0 && bits !== ACCESS_ALL; i--) {
      const rule = rules[i] as DeviceRule;
      if (rule.type !== type) continue;
      if (!rule.allow) return false;
      if (rule.major === -1 && rule.minor === -1) bits |= rule.access;
    }
    return bits === ACCESS_ALL;
  };
  return open("b") && open("c");
}
