/** Owner, mode and attributes of what is unpacked, as far as this user and this file system can have them. */
import { isErrno } from "../errors.ts";
import { check } from "../sys/call.ts";
import { O_NOFOLLOW, O_PATH } from "../sys/constants.ts";
import { Fd, fchmod, fchown, lchownat, openat } from "../sys/file.ts";
import { setXattr, setXattrAt } from "../sys/xattr.ts";
import { ACL_ACCESS, ACL_DEFAULT, type IdMap, type IdRange, isAcl, mappedId, mappedXattr } from "./id-map.ts";
import { escapedXattr } from "./overlay-marks.ts";
import { type Acls, aclXattr } from "./tar/acl.ts";
import { nameBytes, shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";
import { chmodByFd } from "./unpack-files.ts";

/** See UnpackOptions. */
export interface AttributeOptions {
  idMap?: IdMap | undefined;
  unprivileged?: boolean | undefined;
  userns?: boolean | undefined;
}

type SetXattr = (key: Uint8Array, value: Uint8Array) => number;

export class EntryAttributes {
  readonly #idMap: IdMap | undefined;
  readonly #unprivileged: boolean;
  readonly #userns: boolean;
  /** What could not be kept, and how often: "owner", "device", "xattr security.selinux". */
  readonly lost = new Map<string, number>();

  constructor({ idMap, unprivileged = false, userns = false }: AttributeOptions) {
    this.#idMap = idMap;
    this.#unprivileged = unprivileged;
    this.#userns = userns;
  }

  /** Owner, mode and attributes, in this order: chown(2) takes away setuid bits and capabilities. */
  dress(fd: number, entry: TarEntry): void {
    const uid = this.#id(entry.uid, this.#idMap?.uids);
    const gid = this.#id(entry.gid, this.#idMap?.gids);
    this.#own(uid, gid, () => fchown(fd, uid, gid));
    fchmod(fd, entry.mode);
    this.#attributes(entry, (key, value) => setXattr(fd, key, value));
  }

  /** The same for what is not opened: a link, a device, a fifo. */
  dressName(parent: number, name: Uint8Array, entry: TarEntry): void {
    const uid = this.#id(entry.uid, this.#idMap?.uids);
    const gid = this.#id(entry.gid, this.#idMap?.gids);
    this.#own(uid, gid, () => lchownat(parent, name, uid, gid));
    if (entry.type !== "symlink") {
      // After chown(2), which takes setuid and setgid off; a device is not opened for it.
      using place = new Fd(openat(parent, name, O_PATH | O_NOFOLLOW));
      chmodByFd(place.fd, entry.mode);
    }
    this.#attributes(entry, (key, value) => setXattrAt(parent, name, key, value));
  }

  /** All but default ACLs, which what is made in the directory would inherit. */
  #attributes({ xattrs, acls }: TarEntry, set: SetXattr): void {
    for (const [key, value] of xattrs) if (key !== ACL_DEFAULT) this.#set(key, value, set);
    const access = acls?.get(ACL_ACCESS);
    if (access !== undefined) this.#set(ACL_ACCESS, aclXattr(access), set);
  }

  /** ACLs that had to wait. That for access changes the mode: its bits for the group are the mask. */
  dressLate(parent: number, name: Uint8Array, acls: Acls, defaultAcl: Uint8Array | undefined): void {
    const set: SetXattr = (key, value) => setXattrAt(parent, name, key, value);
    for (const [key, entries] of acls) this.#set(key, aclXattr(entries), set);
    if (defaultAcl !== undefined) this.#set(ACL_DEFAULT, defaultAcl, set);
  }

  #set(key: string, value: Uint8Array, set: SetXattr): void {
    this.#kept(key, set(this.#xattrName(key), this.#mapped(key, value)));
  }

  #own(uid: number, gid: number, chown: () => void): void {
    if (this.#unprivileged) {
      this.count("owner", uid !== 0 || gid !== 0);
      return;
    }
    try {
      chown();
    } catch (error) {
      // An id that this namespace does not have.
      if (!this.#userns || !isErrno(error, "EINVAL")) throw error;
      this.count("owner", true);
    }
  }

  #xattrName(key: string): Uint8Array {
    return nameBytes(escapedXattr(key));
  }

  #mapped(key: string, value: Uint8Array): Uint8Array {
    return this.#idMap === undefined ? value : mappedXattr(key, value, this.#idMap);
  }

  /** An attribute that this filesystem or this user cannot have is left out, and counted. */
  #kept(key: string, result: number): void {
    // An ACL may have ids that this namespace does not have.
    const isForeign = result === -22 && this.#userns && isAcl(key);
    if (result === -95 || result === -1 || result === -13 || isForeign) this.count(`xattr ${shown(key)}`, true);
    else check(result, "setxattr", shown(key));
  }

  count(what: string, isLost: boolean): void {
    if (isLost) this.lost.set(what, (this.lost.get(what) ?? 0) + 1);
  }

  #id(id: number, ranges: readonly IdRange[] | undefined): number {
    if (ranges === undefined || ranges.length === 0) return id;
    const mapped = mappedId(id, ranges);
    if (mapped === undefined) throw new TarError(`its owner ${id} is not in the id mapping`);
    return mapped;
  }
}
