/**
 * Idmapped mounts: the user namespaces whose ids they show, and the trees of bind mounts, made on the host's side because
 * the kernel lets only who owns a file system map its ids. Rules: mount_setattr(2) "ID-mapped mounts".
 */

import { TsrunError } from "../errors.ts";
import { AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, MOUNT_ATTR_IDMAP } from "../linux.ts";
import { type IdMappings, mountMappings } from "../spec/idmap.ts";
import { parseMountOptions } from "../spec/mount-options.ts";
import type { Spec } from "../spec/types.ts";
import { O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, open } from "../sys/file.ts";
import { mountSetattr, openTree } from "../sys/mount.ts";
import { inUserNamespace } from "./helper-init.ts";
import { writeMaps } from "./idmap.ts";
import { sourceLink } from "./source-links.ts";

const AT_FDCWD = -100;
const OPEN_TREE_CLONE = 1;

/** Adds the descriptors that the plan names: "tree:N" for a bind mount, "userns:N" for another. @throws TsrunError */
export function openIdmapped(spec: Pick<Spec, "mounts" | "linux">, fds: Map<string, number>): void {
  spec.mounts?.forEach((mount, i) => {
    const options = parseMountOptions(mount.options);
    const mappings = mountMappings(mount, spec.linux ?? {}, options);
    if (mappings === undefined || sourceLink(mount, options) !== undefined) return;
    const userns = newUserNamespace(mappings);
    if (!options.bind && mount.type !== "bind") {
      fds.set(`userns:${i}`, userns);
      return;
    }
    try {
      const nofollow = options.keepSourceLink ? AT_SYMLINK_NOFOLLOW : 0;
      const flags = OPEN_TREE_CLONE | (options.rbind ? AT_RECURSIVE : 0) | nofollow;
      const tree = openTree(AT_FDCWD, mount.source ?? "", flags);
      fds.set(`tree:${i}`, tree);
      const depth = options.idmap === "tree" ? AT_RECURSIVE : 0;
      mountSetattr(tree, "", depth, { set: MOUNT_ATTR_IDMAP, usernsFd: userns });
    } catch (cause) {
      throw new TsrunError(`mounts[${i}] ${mount.destination}: ids of ${mount.source}`, {
        cause,
        fix: "EINVAL: does its file system have idmapped mounts (mount_setattr(2) lists them)?",
      });
    } finally {
      closeQuiet(userns);
    }
  });
}

/** A user namespace that outlives its only process as a descriptor. */
export function newUserNamespace({ uids, gids }: IdMappings): number {
  let fd = -1;
  inUserNamespace("ids of a mount", [], (pid) => {
    writeMaps(pid, uids, gids);
    fd = open(`/proc/${pid}/ns/user`, O_RDONLY | O_CLOEXEC);
  });
  return fd;
}
