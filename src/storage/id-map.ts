/**
 * Ids as a container sees them, and as they are on disk: those of owners, and those that attributes have in them. Pure.
 * Rules: user_namespaces(7); the kernel's posix_acl_xattr.h; capabilities(7) "Namespaced file capabilities".
 */

/** Ids of the tar, or of a container, as they are to be on disk. */
export interface IdMap {
  /** containerID, hostID, size: as in a config.json. */
  uids: readonly IdRange[];
  gids: readonly IdRange[];
}

export interface IdRange {
  containerID: number;
  hostID: number;
  size: number;
}

/** The id on disk; undefined for one that is not mapped. */
export function mappedId(id: number, ranges: readonly IdRange[]): number | undefined {
  for (const { containerID, hostID, size } of ranges) {
    if (id >= containerID && id < containerID + size) return hostID + id - containerID;
  }
  return undefined;
}

/** An id that is not mapped stays what it is. */
export function mappedOwner({ uid, gid }: { uid: number; gid: number }, { uids, gids }: IdMap) {
  return { uid: mappedId(uid, uids) ?? uid, gid: mappedId(gid, gids) ?? gid };
}

/** What owns a file whose owner is not mapped: the kernel's overflow id, which is nobody in a container, too. */
export const OVERFLOW_ID = 65534;

export const ACL_ACCESS = "system.posix_acl_access";
/** What is made in a directory inherits its default ACL. */
export const ACL_DEFAULT = "system.posix_acl_default";

const ACL_VERSION = 2;
const ACL_USER = 2;
const ACL_GROUP = 8;

const CAPS_V2 = 0x02000000;
const CAPS_V3 = 0x03000000;
const CAPS_REVISION_MASK = 0xff000000;

/** The id that is so on disk; undefined when it is that of none that is mapped. */
export function unmappedId(id: number, ranges: readonly IdRange[]): number | undefined {
  for (const { containerID, hostID, size } of ranges) {
    if (id >= hostID && id < hostID + size) return containerID + id - hostID;
  }
  return undefined;
}

/**
 * An attribute with the ids in it mapped, as the owner of its file is: a POSIX ACL names users and groups, and file
 * capabilities count in the user namespaces of one root, which is the host's unless they say so.
 */
export function mappedXattr(name: string, value: Uint8Array, map: IdMap): Uint8Array {
  if (isAcl(name)) return changedAcl(value, (id, isUser) => mappedId(id, isUser ? map.uids : map.gids));
  if (name === "security.capability") return mappedCapabilities(value, map);
  return value;
}

/** The same backwards. @param others what becomes of an id that none is mapped to: it stays, or is that of nobody */
export function unmappedXattr(
  name: string,
  value: Uint8Array,
  map: IdMap,
  others: "keep" | "drop" = "drop",
): Uint8Array {
  const own = (id: number, isUser: boolean) =>
    unmappedId(id, isUser ? map.uids : map.gids) ?? (others === "keep" ? id : undefined);
  if (isAcl(name)) return changedAcl(value, own);
  if (name === "security.capability") return unmappedCapabilities(value, map);
  return value;
}

export function isAcl(name: string): boolean {
  return name === ACL_ACCESS || name === ACL_DEFAULT;
}

/** u32 version, then entries of u16 tag, u16 permissions, u32 id. */
function changedAcl(value: Uint8Array, change: (id: number, isUser: boolean) => number | undefined): Uint8Array {
  const mapped = value.slice();
  const view = new DataView(mapped.buffer);
  if (mapped.length < 4 || view.getUint32(0, true) !== ACL_VERSION) return value;
  for (let at = 4; at + 8 <= mapped.length; at += 8) {
    const tag = view.getUint16(at, true);
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue;
    const id = view.getUint32(at + 4, true);
    view.setUint32(at + 4, change(id, tag === ACL_USER) ?? OVERFLOW_ID, true);
  }
  return mapped;
}

/** Five words; the third revision has the root's id as a sixth. */
function mappedCapabilities(value: Uint8Array, { uids }: IdMap): Uint8Array {
  const root = mappedId(0, uids);
  if (value.length !== 20 || root === undefined) return value;
  const mapped = new Uint8Array(24);
  mapped.set(value);
  const view = new DataView(mapped.buffer);
  const magic = view.getUint32(0, true);
  if ((magic & CAPS_REVISION_MASK) >>> 0 !== CAPS_V2) return value;
  view.setUint32(0, (magic & ~CAPS_REVISION_MASK) | CAPS_V3, true);
  view.setUint32(20, root, true);
  return mapped;
}

function unmappedCapabilities(value: Uint8Array, { uids }: IdMap): Uint8Array {
  if (value.length !== 24) return value;
  const mapped = value.slice(0, 20);
  const view = new DataView(value.buffer, value.byteOffset);
  const magic = view.getUint32(0, true);
  const isOwn = (magic & CAPS_REVISION_MASK) >>> 0 === CAPS_V3 && view.getUint32(20, true) === mappedId(0, uids);
  if (!isOwn) return value;
  new DataView(mapped.buffer).setUint32(0, (magic & ~CAPS_REVISION_MASK) | CAPS_V2, true);
  return mapped;
}
