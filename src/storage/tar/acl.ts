/**
 * POSIX ACLs in their text form, as star, GNU tar (--acls) and bsdtar write them in SCHILY.acl.access and
 * SCHILY.acl.default, and as the attribute that the kernel has of them. Pure.
 * Rules: POSIX 1003.1e draft 17, 23.3; star(5) has the id as a fourth field; the kernel's posix_acl_xattr.h.
 */
import { ACL_ACCESS, ACL_DEFAULT } from "../id-map.ts";
import { shown } from "./bytes.ts";

export interface AclEntry {
  tag: keyof typeof TAGS;
  /** r 4, w 2, x 1. */
  permissions: number;
  /** Of a user or group that is named; one character a byte. */
  name?: string;
  /** Its number, when it stands there: names mean something to the system of the archive alone. */
  id?: number;
}

/** In the order in which the kernel wants them. */
const TAGS = { owner: 1, user: 2, owningGroup: 4, group: 8, mask: 16, other: 32 } as const;

const VERSION = 2;
const NO_ID = 0xffffffff;

/** Both kinds, by the names of their attributes. */
export type Acls = ReadonlyMap<string, readonly AclEntry[]>;

export const ACL_RECORDS: readonly [record: string, xattr: string][] = [
  ["SCHILY.acl.access", ACL_ACCESS],
  ["SCHILY.acl.default", ACL_DEFAULT],
];

/** @returns what is wrong with the text, or the entries in the kernel's order */
export function parseAcl(text: string): string | AclEntry[] {
  const entries: AclEntry[] = [];
  // star and bsdtar put a comma between entries, GNU tar has each on a line; "#" begins a comment.
  for (const item of text.split(/[,\n]/)) {
    const line = item.replace(/#.*/, "").trim();
    if (line === "") continue;
    const entry = parseEntry(line);
    if (entry === undefined) return `"${shown(line.slice(0, 80))}" is no entry of an ACL`;
    entries.push(entry);
  }
  return problemOf(entries) ?? entries.sort((a, b) => TAGS[a.tag] - TAGS[b.tag]);
}

function parseEntry(line: string): AclEntry | undefined {
  const [tag, name = "", permissionText = "", idText, ...rest] = line.split(":").map((field) => field.trim());
  const permissions = permissionsOf(permissionText);
  if (permissions === undefined || rest.length > 0) return undefined;
  const isNamed = name !== "";
  if (!isNamed && idText !== undefined) return undefined;
  if (tag === "user" || tag === "u")
    return isNamed ? named("user", permissions, name, idText) : { tag: "owner", permissions };
  if (tag === "group" || tag === "g")
    return isNamed ? named("group", permissions, name, idText) : { tag: "owningGroup", permissions };
  if (isNamed) return undefined;
  if (tag === "mask" || tag === "m") return { tag: "mask", permissions };
  if (tag === "other" || tag === "o") return { tag: "other", permissions };
  return undefined;
}

/** "rwx", each letter or a dash in its place. */
function permissionsOf(text: string): number | undefined {
  if (!/^[r-][w-][x-]$/.test(text)) return undefined;
  return (text[0] === "r" ? 4 : 0) + (text[1] === "w" ? 2 : 0) + (text[2] === "x" ? 1 : 0);
}

function named(tag: "user" | "group", permissions: number, name: string, idText?: string): AclEntry | undefined {
  // A name of digits is an id that had no name.
  const digits = idText ?? (/^[0-9]+$/.test(name) ? name : undefined);
  if (digits === undefined) return { tag, permissions, name };
  const id = Number(digits);
  return /^[0-9]{1,10}$/.test(digits) && id < NO_ID ? { tag, permissions, name, id } : undefined;
}

/** What acl_valid(3) and the kernel ask for. */
function problemOf(entries: readonly AclEntry[]): string | undefined {
  if (entries.length === 0) return undefined;
  const count = (tag: AclEntry["tag"]) => entries.filter((entry) => entry.tag === tag).length;
  for (const tag of ["owner", "owningGroup", "other"] as const)
    if (count(tag) !== 1) return `the ACL has ${count(tag)} entries for ${WORDS[tag]}, not one`;
  const masks = count("mask");
  if (masks > 1 || (masks === 0 && count("user") + count("group") > 0)) return `the ACL has ${masks} masks, not one`;
  const keys = entries.flatMap(({ tag, name, id }) => (name === undefined ? [] : [`${tag} ${id ?? name}`]));
  const twice = keys.find((key, i) => keys.indexOf(key) !== i);
  return twice === undefined ? undefined : `the ACL has two entries for ${shown(twice)}`;
}

const WORDS = { owner: "the owner", owningGroup: "the owning group", other: "others" } as const;

/** The value of system.posix_acl_access or _default; entries of a name without an id are left out. */
export function aclXattr(entries: readonly AclEntry[]): Uint8Array {
  const known = entries.filter(({ name, id }) => name === undefined || id !== undefined);
  const value = new Uint8Array(4 + 8 * known.length);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  known.forEach(({ tag, permissions, id = NO_ID }, i) => {
    view.setUint16(4 + 8 * i, TAGS[tag], true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return value;
}

/** The entries with the ids that passwd(5) and group(5) have for their names, where they have no id yet. */
export function resolveNames(entries: readonly AclEntry[], passwd: string, group: string): AclEntry[] {
  return entries.map((entry) => {
    if (entry.name === undefined || entry.id !== undefined) return entry;
    const id = idOf(entry.name, entry.tag === "user" ? passwd : group);
    return id === undefined ? entry : { ...entry, id };
  });
}

function idOf(name: string, table: string): number | undefined {
  const line = table.split("\n").find((each) => each.startsWith(`${name}:`));
  const id = line?.split(":")[2] ?? "";
  return /^[0-9]{1,10}$/.test(id) && Number(id) < NO_ID ? Number(id) : undefined;
}
