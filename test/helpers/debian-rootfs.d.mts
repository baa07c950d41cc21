/** The types of what tests take from debian-rootfs.mjs. */
export const DEBIAN_DIR: string;
export const DEBIAN_ROOTFS: string;
export function ensureDebianRootfs(): string | undefined;
