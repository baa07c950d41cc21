/**
 * ACLs that can be set when the layer is there, and not before. Default ones: what is made in a directory would inherit them.
 * Those that have users or groups by name alone, as GNU tar writes them: which these are the image's own /etc/passwd and
 * /etc/group say. An entry whose name is not in them is left out, and counted.
 */
import { O_NOFOLLOW, O_PATH } from "../sys/constants.ts";
import { statx } from "../sys/file.ts";
import { ACL_DEFAULT } from "./id-map.ts";
import { readInLayers } from "./layer-text.ts";
import { type AclEntry, type Acls, resolveNames } from "./tar/acl.ts";
import { components, nameBytes, shown, textName } from "./tar/bytes.ts";
import type { TarEntry } from "./tar/header.ts";
import type { EntryAttributes } from "./unpack-attributes.ts";
import { openQuiet, statOrNothing } from "./unpack-files.ts";

interface Late {
  acls: Acls;
  /** A default ACL that came as the attribute itself. */
  value: Uint8Array | undefined;
  ino: number;
}

export class LateAcls {
  readonly #late = new Map<string, Late>();

  /** An entry that was just made, and may have replaced one. */
  made(root: number, { name, acls = new Map(), xattrs }: TarEntry): void {
    const value = xattrs.find(([key]) => key === ACL_DEFAULT)?.[1];
    const isLate = value !== undefined || acls.has(ACL_DEFAULT) || [...acls.values()].flat().some(isUnknown);
    if (!isLate && this.#late.size === 0) return;
    const path = (components(name) ?? []).join("/");
    this.#late.delete(path);
    if (!isLate) return;
    using place = openQuiet(root, path, O_PATH | O_NOFOLLOW);
    if (place !== undefined) this.#late.set(path, { acls, value, ino: statx(place.fd, "").ino });
  }

  /** @param lowers diff directories of the layers below, top first */
  finish(root: number, lowers: readonly string[], attributes: EntryAttributes): void {
    if (this.#late.size === 0) return;
    const read = (path: string) => textName(readInLayers([`/proc/self/fd/${root}`, ...lowers], path) ?? "");
    const [passwd, group] = [read("etc/passwd"), read("etc/group")];
    for (const [path, { acls, value, ino }] of this.#late) {
      const cut = path.lastIndexOf("/");
      using parent = openQuiet(root, path.slice(0, Math.max(0, cut)));
      const name = path === "" ? nameBytes(".") : nameBytes(path.slice(cut + 1));
      // Something else may have come into its place.
      if (parent === undefined || statOrNothing(parent.fd, name)?.ino !== ino) continue;
      const resolved = new Map([...acls].map(([key, entries]) => [key, resolveNames(entries, passwd, group)]));
      for (const entry of [...resolved.values()].flat()) {
        if (isUnknown(entry)) attributes.count(`the entry of ${entry.tag} ${shown(entry.name ?? "")} in an ACL`, true);
      }
      attributes.dressLate(parent.fd, name, resolved, value);
    }
  }
}

function isUnknown({ name, id }: AclEntry): boolean {
  return name !== undefined && id === undefined;
}
