/**
 * What overlayfs is told, and what its answers mean. Pure.
 * Rules: kernel filesystems/overlayfs.rst; the messages are those of fs/overlayfs/{params,super}.c.
 */
import { utf8Bytes } from "../sys/call.ts";
import { MAX_LOWERS } from "./layout.ts";
import { escapeLower } from "./link.ts";

/** One overlay mount. Paths are absolute, the topmost lower layer first. */
export interface Overlay {
  lowers: readonly string[];
  upper: string;
  work: string;
  /** Keep marks in user.overlay.* attributes: trusted.* are refused in a user namespace (Linux 5.11). */
  userxattr: boolean;
  /** Never wait for the disk (Linux 5.10). */
  volatile: boolean;
  /** Of overlayfs itself: index, metacopy, xino. */
  extra?: readonly string[] | undefined;
}

/** Options besides the directories: names and values, and flags, which have none. */
export function commonOptions({
  userxattr,
  volatile,
  extra = [],
}: Pick<Overlay, "userxattr" | "volatile" | "extra">): [string, string?][] {
  // Without index=off a store that was copied, or a layer below two containers, may be refused (ESTALE, EBUSY).
  const options: [string, string?][] = [["index", extra.includes("index") ? "on" : "off"]];
  if (extra.includes("metacopy")) options.push(["metacopy", "on"]);
  if (extra.includes("xino")) options.push(["xino", "on"]);
  if (userxattr) options.push(["userxattr"]);
  if (volatile) options.push(["volatile"]);
  return options;
}

/** The most that one string given to fsconfig(2) may have, without the NUL. */
const FSCONFIG_STRING_MAX = 255;

/** Can fsconfig(2) take this path as a string, whatever way the kernel has of treating special characters? */
export function isPlainValue(path: string): boolean {
  return path.length <= FSCONFIG_STRING_MAX && /^[\w/.+@%=~#-]+$/.test(path);
}

/** Is this not more than mount(2) reads: one page, with the NUL at its end? */
export function fitsPage(data: string): boolean {
  return utf8Bytes(data).length < 4096;
}

/** The layers that are mounted each for itself, and those, lowest of all, that have to go into one first. */
export function splitLowers(lowers: readonly string[]): { single: readonly string[]; rest: readonly string[] } {
  if (lowers.length <= MAX_LOWERS) return { single: lowers, rest: [] };
  return { single: lowers.slice(0, MAX_LOWERS - 1), rest: lowers.slice(MAX_LOWERS - 1) };
}

/** The options for mount(2). A comma ends an option there, a colon a lower layer, unless a backslash is before it. */
export function mountData(overlay: Overlay): string {
  const parts = commonOptions(overlay).map(([name, value]) => (value === undefined ? name : `${name}=${value}`));
  parts.push(`lowerdir=${overlay.lowers.map((path) => escapeComma(escapeLower(path))).join(":")}`);
  parts.push(`upperdir=${escapeDirectory(overlay.upper)}`, `workdir=${escapeDirectory(overlay.work)}`);
  return parts.join(",");
}

function escapeDirectory(path: string): string {
  return path.replaceAll(/[\\,]/g, "\\$&");
}

export function escapeComma(path: string): string {
  return path.replaceAll(",", "\\,");
}

/**
 * What is known to help against a refusal.
 *
 * @param reason the kernel's own words, "" when it had none: Linux 6.18 gives them for options, not for the mount
 */
export function mountFix(code: string, reason: string, overlay: Overlay): string | undefined {
  if (code === "ENODEV") return "load the overlay module (modprobe overlay), or use a kernel with CONFIG_OVERLAY_FS";
  if (code === "EPERM" || code === "EACCES") return permissionFix(overlay);
  if (code === "ELOOP") return overlapFix(overlay);
  if (code === "ENOSPC" || code === "EDQUOT") return `make room on the filesystem of ${overlay.upper}`;
  if (code === "EROFS" || reason.includes("read-only")) return storeFix("can be written", overlay);
  if (reason.includes("as upperdir")) return storeFix("can hold an upper layer, such as ext4, xfs or btrfs", overlay);
  if (reason.includes("too many lower")) return `use fewer layers: the kernel mounts at most ${MAX_LOWERS}`;
  if (code === "EINVAL" && reason === "") return 'the kernel\'s log (dmesg) has the reason in a line with "overlayfs:"';
  return undefined;
}

function storeFix(quality: string, overlay: Overlay): string {
  return `keep the store on a filesystem that ${quality}: ${overlay.upper} is not on such a one`;
}

function overlapFix({ lowers, upper, work }: Overlay): string {
  const found = overlappingPaths([...lowers, upper, work]);
  if (found === undefined) return "name each directory once, and none that contains another layer or the store";
  return `take ${found[0]} or ${found[1]} out of the layers: the first contains the second`;
}

function permissionFix({ userxattr }: Overlay): string {
  return userxattr
    ? "overlay in a user namespace needs Linux 5.11 and a store that the user may write"
    : "run as root with CAP_SYS_ADMIN, or as root of a user namespace";
}

/** Two of these paths of which the first contains the second. */
export function overlappingPaths(paths: readonly string[]): readonly [string, string] | undefined {
  for (const outer of paths) {
    const inner = paths.find((path) => path !== outer && path.startsWith(outer === "/" ? "/" : `${outer}/`));
    if (inner !== undefined) return [outer, inner];
  }
  return undefined;
}
