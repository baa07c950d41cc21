/**
 * Where everything of the store lies, in the shape of Docker's overlay2, and which modes it has.
 * Pure: names only. The shape is described in docs/storage.md.
 */

export const DEFAULT_STORAGE_ROOT = "/var/lib/tsrun";

/** The kernel's OVL_MAX_STACK: lower layers of one overlay mount, the init layer among them. */
export const MAX_LOWERS = 500;

/** Layers of one container: the lowest 500 count as one where they must (mount.ts), and the init layer counts too. */
export const MAX_LAYERS = 2 * MAX_LOWERS - 2;

/** The directory in which each layer has one of its own. */
export function overlayDir(storageRoot: string): string {
  return `${storageRoot}/overlay2`;
}

/** The bundles that `run --image` makes. */
export function bundlesDir(storageRoot: string): string {
  return `${storageRoot}/bundles`;
}

/** The name of a bundle of the store; undefined for any other. */
export function bundleName(storageRoot: string, bundle: string): string | undefined {
  const prefix = `${bundlesDir(storageRoot)}/`;
  return bundle.startsWith(prefix) ? bundle.slice(prefix.length) : undefined;
}

/** What the store knows of one image layer. `hex` is its chain ID without "sha256:". */
export function chainDir(storageRoot: string, hex: string): string {
  return `${storageRoot}/image/overlay2/layerdb/sha256/${hex}`;
}

/** One directory a container, named as it, with mount-id, init-id and parent. */
export function mountsDir(storageRoot: string): string {
  return `${storageRoot}/image/overlay2/layerdb/mounts`;
}

// A random mount id is 64 hex digits, so a named one can never be mistaken for it, nor for "l".
const NAMED = "rw-";
const INIT = "-init";

/** The mount id of the read-write layer that a user gave a name. */
export function namedMountId(name: string): string {
  return NAMED + name;
}

/** Does this read-write layer outlive its container? */
export function isNamed(mountId: string): boolean {
  return mountId.startsWith(NAMED);
}

/** Is this what prepareRootfs chose once? What a damaged file says must not name anything else in overlay2. */
export function isMountId(text: string): boolean {
  return isNamed(text) ? layerNameProblem(layerName(text)) === undefined : /^[0-9a-f]{64}$/.test(text);
}

export function layerName(mountId: string): string {
  return isNamed(mountId) ? mountId.slice(NAMED.length) : mountId;
}

export function initId(mountId: string): string {
  return mountId + INIT;
}

/**
 * What is wrong with the name of a read-write layer, if anything: it becomes the name of a directory.
 * "-init" is the ending of the directory that belongs to another one.
 */
export function layerNameProblem(name: string): string | undefined {
  if (!isFileName(name)) return `"${printable(name)}" is not a name: use letters, digits and "_+.-"`;
  if (name.length > 200) return "a name has at most 200 characters";
  if (name.endsWith(INIT)) return `a name cannot end in "${INIT}"`;
  return undefined;
}

/** May this become one component of a path? The rule for container ids (docs/security.md). */
export function isFileName(name: string): boolean {
  return /^[A-Za-z0-9_+.-]{1,255}$/.test(name) && name !== "." && name !== "..";
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 80)).slice(1, -1);
}
