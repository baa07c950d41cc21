/** Owner, mode and attributes of what is unpacked, as far as this user and this file system can have them. */
import { isErrno } from "../errors.ts";
import { check } from "../sys/call.ts";
import { O_NOFOLLOW, O_PATH } from "../sys/constants.ts";
import { Fd, fchmod, fchown, lchownat, openat } from "../sys/file.ts";
import { setXattr, setXattrAt } from "../sys/xattr.ts";
import { type IdMap, type IdRange, mappedId, mappedXattr } from "./id-map.ts";
import { escapedXattr } from "./overlay-marks.ts";
import { nameBytes, shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";
import { chmodByFd } from "./unpack-files.ts";

/** See UnpackOptions. */
export interface AttributeOptions {
  idMap?: IdMap | undefined;
  unprivileged?: boolean | undefined;
  userns?: boolean | undefined;
}

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
    for (const [key, value] of entry.xattrs)
      this.#kept(key, setXattr(fd, this.#xattrName(key), this.#mapped(key, value)));
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
    for (const [key, value] of entry.xattrs) {
      this.#kept(key, setXattrAt(parent, name, this.#xattrName(key), this.#mapped(key, value)));
    }
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
    if (result === -95 || result === -1 || result === -13) this.count(`xattr ${shown(key)}`, true);
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
