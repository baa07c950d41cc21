/**
 * Layers of a caller who is not root: he has the right to mount them in the container's user namespace alone, so that the
 * container's process mounts them, or an init in a namespace of the same ids copies them.
 */
import { CLONE_NEWNS } from "../linux.ts";
import { planOverlay } from "../plan/rootfs.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { layersData, type OverlayData, overlayData } from "../storage/mount.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { existsSync, writeFileSync } from "../sys/fs.ts";
import { inUserNamespace } from "./helper-init.ts";
import { isOwnIdOnly, mapIds } from "./idmap.ts";
import type { StateRecord } from "./state.ts";

/** Are the layers for the container's process to mount? */
export function isMountedInside({ userns, host }: ContainerSpec): boolean {
  return userns && host.euid !== 0;
}

/** What `delete` needs where the files that the container makes are not all the caller's own. */
export function idMapsOf(container: ContainerSpec): Pick<StateRecord, "idMaps"> {
  if (!isMountedInside(container) || isOwnIdOnly(container)) return {};
  return { idMaps: { uids: container.uidMappings, gids: container.gidMappings } };
}

/** What the process mounts; undefined for the driver that copies, whose copy is a directory like that of a bundle. */
export function insideOverlay(record: RootfsRecord, container: ContainerSpec): OverlayData | undefined {
  // It is mounted by then: see inside-fuse.ts.
  if (record.driver === "fuse-overlayfs") {
    return { options: [], directories: [], atPlace: { path: record.merged, data: undefined } };
  }
  if (record.driver !== "vfs") return overlayData(record);
  container.rootfs.path = copyOf(record, container);
  return undefined;
}

/** Driver vfs. @returns the directory with a copy of all layers, made by now */
function copyOf(record: RootfsRecord, container: ContainerSpec): string {
  const home = record.merged.slice(0, record.merged.lastIndexOf("/"));
  const diff = `${home}/diff`;
  if (existsSync(`${home}/copied`)) return diff;
  const layers = layersData(record);
  inUserNamespace(
    `the copy of the layers of ${record.id}`,
    (b) => {
      b.add("layers", "unshare", CLONE_NEWNS);
      const from = planOverlay(b, layers);
      const to = b.newFd();
      b.add("layers", "open", to, diff, O_RDONLY | O_DIRECTORY, 0);
      b.add("layers", "copyTree", from, to);
    },
    (pid) => mapIds(pid, container),
  );
  writeFileSync(`${home}/copied`, "1");
  return diff;
}
