/** Symbolic links as sources of bind mounts that are to be made anew in the container: the mount option copy-symlink of crun(1). */

import { isErrno } from "../errors.ts";
import { type MountOptions, parseMountOptions } from "../spec/mount-options.ts";
import type { Mount, Spec } from "../spec/types.ts";
import { readlinkSync } from "../sys/fs.ts";

const WORD = "copy-symlink";

/** By the index of the mount, where the link points. @throws SyscallError when a source cannot be looked at */
export function sourceLinks({ mounts }: Pick<Spec, "mounts">): Map<number, string> {
  const links = new Map<number, string>();
  mounts?.forEach((mount, i) => {
    if (!mount.options?.includes(WORD)) return;
    const link = sourceLink(mount, parseMountOptions(mount.options));
    if (link !== undefined) links.set(i, link);
  });
  return links;
}

/** Where the link points that is to be made anew; undefined: it is mounted as any other source. */
export function sourceLink({ source }: Mount, { copyLink }: MountOptions): string | undefined {
  if (!copyLink || source === undefined) return undefined;
  try {
    return readlinkSync(source);
  } catch (error) {
    // No link, or nothing at all, which the mount will say.
    if (isErrno(error, "EINVAL", "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
