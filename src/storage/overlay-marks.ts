/**
 * The attributes with which overlayfs marks what is in a layer. Pure.
 * Rules: kernel filesystems/overlayfs.rst; include "Nesting overlayfs mounts" for the escape.
 */

/** Where the marks are: only root of the initial user namespace may write trusted.*. */
export type XattrSpace = "trusted.overlay." | "user.overlay.";

export const OPAQUE = "opaque";
export const REDIRECT = "redirect";
export const METACOPY = "metacopy";

export function xattrSpace(userns: boolean): XattrSpace {
  return userns ? "user.overlay." : "trusted.overlay.";
}

/**
 * An attribute of an archive, as it may be in a layer: one that would be a mark of overlayfs could lead the
 * mount to other files. In a layer the kernel (6.7) shows x.overlay.overlay.y as x.overlay.y.
 */
export function escapedXattr(name: string): string {
  return name.replace(/^(trusted|user)\.overlay\./, "$1.overlay.overlay.");
}

/** The attribute as an archive has it; undefined for a mark of the layer itself. */
export function unescapedXattr(name: string): string | undefined {
  const match = /^(trusted|user)\.overlay\.(overlay\.)?/.exec(name);
  if (match === null) return name;
  return match[2] === undefined ? undefined : name.replace(".overlay.overlay.", ".overlay.");
}
