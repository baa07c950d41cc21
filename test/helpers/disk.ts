/** File systems of a test's own, in a file. The sandbox and the VM have mount namespaces that end with the tests. */
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { tool } from "./images.ts";
import { scratch } from "./scratch.ts";

export interface Disk {
  /** Where it is mounted. */
  path: string;
  image: string;
  unmount(): void;
}

/** Makes a file system of so many MiB by `mkfs ...` and mounts it. */
export function makeDisk(mkfs: readonly string[], options: string, sizeMiB = 64): Disk {
  const image = join(scratch("disk"), "image");
  const fd = openSync(image, "w");
  ftruncateSync(fd, sizeMiB << 20);
  closeSync(fd);
  const [command = "", ...args] = mkfs;
  tool(command, [...args, image]);
  return mountDisk(image, options);
}

export function mountDisk(image: string, options: string): Disk {
  const path = scratch("mounted");
  tool("mount", ["-o", `loop,${options}`, image, path]);
  return { path, image, unmount: () => tool("umount", [path]) };
}

/** Can this machine do that? A container without loop devices cannot. @returns why not */
export function noDisk(mkfs: readonly string[], options: string, sizeMiB?: number): string | undefined {
  try {
    makeDisk(mkfs, options, sizeMiB).unmount();
    return undefined;
  } catch (error) {
    return (error as Error).message.trim().split("\n")[0];
  }
}
