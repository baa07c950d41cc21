/**
 * The words of `mounts[].options`, as data. Words for the kernel are here; every other word belongs to the filesystem.
 * Rules: OCI config.md "Linux mount options"; mount(2), mount_setattr(2), fs/fs_context.c; runc specconv/spec_linux.go.
 */
import { byteLength } from "./text.ts";

/** mount(2). Source: linux/mount.h. */
export const MS = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  SYNCHRONOUS: 0x10,
  REMOUNT: 0x20,
  MANDLOCK: 0x40,
  DIRSYNC: 0x80,
  NOSYMFOLLOW: 0x100,
  NOATIME: 0x400,
  NODIRATIME: 0x800,
  BIND: 0x1000,
  REC: 0x4000,
  SILENT: 0x8000,
  UNBINDABLE: 0x20000,
  PRIVATE: 0x40000,
  SLAVE: 0x80000,
  SHARED: 0x100000,
  RELATIME: 0x200000,
  I_VERSION: 0x800000,
  STRICTATIME: 0x1000000,
  LAZYTIME: 0x2000000,
} as const;

/** mount_setattr(2), fsmount(2). Source: linux/mount.h. The atime modes are one field of three bits, not flags. */
export const ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  ATIME_MASK: 0x70,
  RELATIME: 0x0,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
  NOSYMFOLLOW: 0x200000,
} as const;

/** What a word does. */
export interface MountWord {
  /** MOUNT_ATTR_* to set or clear. */
  readonly set?: number;
  readonly clear?: number;
  /** An atime mode (MOUNT_ATTR__ATIME field) to take on, or to drop when it is the one asked for so far. */
  readonly atime?: number;
  readonly notAtime?: number;
  /** The attributes are for the whole tree below, not the mount alone. */
  readonly recursive?: true;
  /** MS_SHARED..., with MS_REC. */
  readonly propagation?: number;
  /** MS_* of the same meaning, to set or clear, for mount(2). */
  readonly ms?: number;
  readonly msClear?: number;
  /** A flag of the superblock, by its fsconfig(2) name; `not` is the name it replaces. */
  readonly superFlag?: string;
  readonly not?: string;
  /** A tmpfs begins with what the directory that it hides holds. */
  readonly copyUp?: true;
  /** Ids are mapped, of the mount alone or of the whole tree. */
  readonly idmap?: "mount" | "tree";
  /** What becomes of a link in the place of a bind mount's source (it is made anew, or mounted itself) or of its target. */
  readonly link?: "copy" | "source" | "target";
}

/** Without prototype: "constructor" is no word. */
export const MOUNT_WORDS: Readonly<Record<string, MountWord>> = {
  __proto__: null as never,
  defaults: {},
  bind: { ms: MS.BIND },
  rbind: { ms: MS.BIND | MS.REC },
  remount: { ms: MS.REMOUNT },

  ro: { set: ATTR.RDONLY, ms: MS.RDONLY },
  rw: { clear: ATTR.RDONLY, msClear: MS.RDONLY },
  nosuid: { set: ATTR.NOSUID, ms: MS.NOSUID },
  suid: { clear: ATTR.NOSUID, msClear: MS.NOSUID },
  nodev: { set: ATTR.NODEV, ms: MS.NODEV },
  dev: { clear: ATTR.NODEV, msClear: MS.NODEV },
  noexec: { set: ATTR.NOEXEC, ms: MS.NOEXEC },
  exec: { clear: ATTR.NOEXEC, msClear: MS.NOEXEC },
  nodiratime: { set: ATTR.NODIRATIME, ms: MS.NODIRATIME },
  diratime: { clear: ATTR.NODIRATIME, msClear: MS.NODIRATIME },
  nosymfollow: { set: ATTR.NOSYMFOLLOW, ms: MS.NOSYMFOLLOW },
  symfollow: { clear: ATTR.NOSYMFOLLOW, msClear: MS.NOSYMFOLLOW },
  noatime: { atime: ATTR.NOATIME, ms: MS.NOATIME },
  atime: { notAtime: ATTR.NOATIME, msClear: MS.NOATIME },
  relatime: { atime: ATTR.RELATIME, ms: MS.RELATIME },
  norelatime: { notAtime: ATTR.RELATIME, msClear: MS.RELATIME },
  strictatime: { atime: ATTR.STRICTATIME, ms: MS.STRICTATIME },
  nostrictatime: { notAtime: ATTR.STRICTATIME, msClear: MS.STRICTATIME },

  rro: { recursive: true, set: ATTR.RDONLY },
  rrw: { recursive: true, clear: ATTR.RDONLY },
  rnosuid: { recursive: true, set: ATTR.NOSUID },
  rsuid: { recursive: true, clear: ATTR.NOSUID },
  rnodev: { recursive: true, set: ATTR.NODEV },
  rdev: { recursive: true, clear: ATTR.NODEV },
  rnoexec: { recursive: true, set: ATTR.NOEXEC },
  rexec: { recursive: true, clear: ATTR.NOEXEC },
  rnodiratime: { recursive: true, set: ATTR.NODIRATIME },
  rdiratime: { recursive: true, clear: ATTR.NODIRATIME },
  rnosymfollow: { recursive: true, set: ATTR.NOSYMFOLLOW },
  rsymfollow: { recursive: true, clear: ATTR.NOSYMFOLLOW },
  rnoatime: { recursive: true, atime: ATTR.NOATIME },
  ratime: { recursive: true, notAtime: ATTR.NOATIME },
  rrelatime: { recursive: true, atime: ATTR.RELATIME },
  rnorelatime: { recursive: true, notAtime: ATTR.RELATIME },
  rstrictatime: { recursive: true, atime: ATTR.STRICTATIME },
  rnostrictatime: { recursive: true, notAtime: ATTR.STRICTATIME },

  sync: { superFlag: "sync", not: "async", ms: MS.SYNCHRONOUS },
  async: { superFlag: "async", not: "sync", msClear: MS.SYNCHRONOUS },
  dirsync: { superFlag: "dirsync", ms: MS.DIRSYNC },
  // fsconfig(2) has no name for this: a superblock is without it until it is told.
  nodirsync: { not: "dirsync", msClear: MS.DIRSYNC },
  lazytime: { superFlag: "lazytime", not: "nolazytime", ms: MS.LAZYTIME },
  nolazytime: { superFlag: "nolazytime", not: "lazytime", msClear: MS.LAZYTIME },
  mand: { superFlag: "mand", not: "nomand", ms: MS.MANDLOCK },
  nomand: { superFlag: "nomand", not: "mand", msClear: MS.MANDLOCK },
  // These have no fsconfig(2) name; only mount(2) carries them.
  iversion: { ms: MS.I_VERSION },
  noiversion: { msClear: MS.I_VERSION },
  silent: { ms: MS.SILENT },
  loud: { msClear: MS.SILENT },

  shared: { propagation: MS.SHARED },
  rshared: { propagation: MS.SHARED | MS.REC },
  slave: { propagation: MS.SLAVE },
  rslave: { propagation: MS.SLAVE | MS.REC },
  private: { propagation: MS.PRIVATE },
  rprivate: { propagation: MS.PRIVATE | MS.REC },
  unbindable: { propagation: MS.UNBINDABLE },
  runbindable: { propagation: MS.UNBINDABLE | MS.REC },

  tmpcopyup: { copyUp: true },
  idmap: { idmap: "mount" },
  ridmap: { idmap: "tree" },
  "copy-symlink": { link: "copy" },
  "src-nofollow": { link: "source" },
  "dest-nofollow": { link: "target" },
};

/** What the words of one mount come to. */
export interface MountOptions {
  /** MOUNT_ATTR_* for the mount. `attrClear` holds the whole atime field when a mode is set, as the kernel wants it. */
  attrSet: number;
  attrClear: number;
  /** The same for the whole tree (AT_RECURSIVE). */
  recSet: number;
  recClear: number;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC where the word had an r; in the order given. */
  propagation: number[];
  bind: boolean;
  rbind: boolean;
  remount: boolean;
  /** Flags of the superblock by their fsconfig(2) names. */
  superFlags: string[];
  /** Everything that mount(2) takes as MS_*, propagation and bind excluded; iversion and silent are only here. */
  msFlags: number;
  /** What is for the filesystem, in order. */
  data: string[];
  copyUp: boolean;
  /** Are ids mapped, and how far? The mappings are `idmapWord`, those of the mount, or of the container. */
  idmap: "mount" | "tree" | undefined;
  /** "uids=...;gids=..." of a word idmap=..., as crun has it. */
  idmapWord: string | undefined;
  /** A source that is a symbolic link is made anew at the destination, and nothing is mounted. */
  copyLink: boolean;
  /** A symbolic link as source or as destination is mounted, or mounted on, itself. */
  keepSourceLink: boolean;
  keepTargetLink: boolean;
}

export function parseMountOptions(options: readonly string[] | undefined): MountOptions {
  const result: MountOptions = {
    attrSet: 0,
    attrClear: 0,
    recSet: 0,
    recClear: 0,
    propagation: [],
    bind: false,
    rbind: false,
    remount: false,
    superFlags: [],
    msFlags: 0,
    data: [],
    copyUp: false,
    idmap: undefined,
    idmapWord: undefined,
    copyLink: false,
    keepSourceLink: false,
    keepTargetLink: false,
  };
  for (const option of options ?? []) {
    // Callers send empty words (buildah does).
    if (option === "") continue;
    const word = mountWord(option);
    if (word === undefined) addData(option, result.data);
    else apply(word, result);
    if (word?.idmap !== undefined && option.includes("=")) result.idmapWord = option.slice(option.indexOf("=") + 1);
  }
  result.bind = (result.msFlags & MS.BIND) !== 0;
  result.rbind = result.bind && (result.msFlags & MS.REC) !== 0;
  result.remount = (result.msFlags & MS.REMOUNT) !== 0;
  result.msFlags &= ~(MS.BIND | MS.REC | MS.REMOUNT);
  return result;
}

/** Bytes that fsconfig(2) takes as a value. */
const FSCONFIG_MAX = 255;

/** Can only mount(2) make a file system with these? The new calls take no longer values, and know no iversion. */
export function needsMount2({ msFlags, data }: MountOptions, source: string): boolean {
  const isLong = (value: string) => value.length > FSCONFIG_MAX / 3 && byteLength(value) > FSCONFIG_MAX;
  if ((msFlags & MS.I_VERSION) !== 0 || isLong(source)) return true;
  return data.some((setting) => isLong(setting.slice(setting.indexOf("=") + 1)));
}

/**
 * mount(2) takes all data as one string, so callers may put several settings into one option: "mode=755,size=1m".
 * Commas that belong to a value stay: escaped, quoted, or before a digit (tmpfs mpol=bind:0,2).
 */
function addData(option: string, data: string[]): void {
  if (!option.includes(",")) {
    data.push(option);
    return;
  }
  for (const part of option.match(/(?:\\.|"[^"]*"|,(?=\d)|[^,])+/g) ?? []) data.push(part);
}

/** The word of this option; undefined when it is for the filesystem. */
export function mountWord(option: string): MountWord | undefined {
  return (
    MOUNT_WORDS[option] ??
    (option.startsWith("idmap=") ? MOUNT_WORDS.idmap : option.startsWith("ridmap=") ? MOUNT_WORDS.ridmap : undefined)
  );
}

function apply(word: MountWord, result: MountOptions): void {
  if (word.copyUp) result.copyUp = true;
  if (word.link === "copy") result.copyLink = true;
  if (word.link === "source") result.keepSourceLink = true;
  if (word.link === "target") result.keepTargetLink = true;
  if (word.idmap !== undefined) result.idmap = word.idmap;
  if (word.propagation !== undefined) result.propagation.push(word.propagation);
  if (word.ms !== undefined) {
    if ((word.ms & ATIME_MS) !== 0) result.msFlags &= ~ATIME_MS;
    result.msFlags |= word.ms;
  }
  if (word.msClear !== undefined) result.msFlags &= ~word.msClear;
  if (word.not !== undefined || word.superFlag !== undefined) {
    result.superFlags = result.superFlags.filter((flag) => flag !== word.not && flag !== word.superFlag);
    if (word.superFlag !== undefined) result.superFlags.push(word.superFlag);
  }
  const [set, clear] = word.recursive
    ? attributes(word, result.recSet, result.recClear)
    : attributes(word, result.attrSet, result.attrClear);
  if (word.recursive) {
    result.recSet = set;
    result.recClear = clear;
  } else {
    result.attrSet = set;
    result.attrClear = clear;
  }
}

const ATIME_MS = MS.NOATIME | MS.RELATIME | MS.STRICTATIME;

/** The last word wins: what it sets is no longer cleared, and the other way round. */
function attributes(word: MountWord, set: number, clear: number): [set: number, clear: number] {
  if (word.set !== undefined) return [set | word.set, clear & ~word.set];
  if (word.clear !== undefined) return [set & ~word.clear, clear | word.clear];
  if (word.atime !== undefined) return [(set & ~ATTR.ATIME_MASK) | word.atime, clear | ATTR.ATIME_MASK];
  if (word.notAtime !== undefined) return dropAtime(word.notAtime, set, clear);
  return [set, clear];
}

/**
 * "atime" and the no... words of atime modes. One that takes back an earlier word of the list leaves the kernel's default,
 * relatime. One that stands alone asks the same of a bind mount whose source has another mode; "norelatime" alone
 * names no mode, and so changes nothing.
 */
function dropAtime(mode: number, set: number, clear: number): [set: number, clear: number] {
  const asked = (clear & ATTR.ATIME_MASK) !== 0;
  const current = set & ATTR.ATIME_MASK;
  if (asked && current !== mode) return [set, clear];
  if (!asked && mode === ATTR.RELATIME) return [set, clear];
  return [set & ~ATTR.ATIME_MASK, clear | ATTR.ATIME_MASK];
}
