/** Which file systems can map ids (mount_setattr(2) lists them), as far as tests lie on them. */
import { spawnSync } from "node:child_process";
import { isKernel } from "./needs.ts";

export function isIdmappable(path: string): boolean {
  const type = spawnSync("stat", ["-f", "-c", "%T", path], { encoding: "utf8" }).stdout.trim();
  if (type === "tmpfs") return isKernel([6, 3]);
  return ["ext2/ext3", "xfs", "btrfs"].includes(type);
}
