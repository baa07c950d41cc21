/** The layers of a container as the store is asked for them: whose they are, how they are mapped, and how long they stay. */

import { setupIds } from "../plan/namespaces.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { mountRootfs } from "../storage/mount.ts";
import { hasIdMap, prepareRootfs, type RootfsRecord, type RootfsRequest, removeRootfs } from "../storage/rootfs.ts";
import { closeQuiet } from "../sys/file.ts";
import { newUserNamespace } from "./idmapped.ts";
import { isMountedInside } from "./inside.ts";
import { storageRoot } from "./paths.ts";
import type { StateDirectory } from "./state.ts";
import type { Undo } from "./undo.ts";
import { SLIRP_RESOLV_CONF } from "./user-network.ts";

export function makeRootfs(
  container: ContainerSpec,
  state: StateDirectory,
  options: { foreground?: boolean | undefined },
  undo: Undo,
): RootfsRecord | undefined {
  const { layers, rwLayer, sizeBytes } = container.rootfs;
  if (!layers) return undefined;
  const root = container.options.storageRoot ?? storageRoot();
  undo.add(() => removeRootfs({ id: container.id, storageRoot: root, stateDir: state.path }));
  return prepareRootfs({
    id: container.id,
    layers,
    userns: container.host.userns || isMountedInside(container),
    ...overlayRequest(container, root),
    storageRoot: root,
    stateDir: state.path,
    bundle: container.bundle,
    // Removed as soon as the process has ended: without this the end would wait until all of it is on the disk.
    volatile:
      container.rootfs.overlayOptions.includes("volatile") ||
      (options.foreground === true && !container.options.keep && rwLayer === undefined),
    ...(rwLayer === undefined ? {} : { rwLayer }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(container.network === "slirp4netns" ? { resolvConf: SLIRP_RESOLV_CONF } : {}),
    ...(container.spec.hostname === undefined ? {} : { hostname: container.spec.hostname }),
    // An ordinary user cannot give anything away: what is his is what the process finds.
    ...(container.userns && !isMountedInside(container) ? { owner: mappedRoot(container) } : {}),
  });
}

/** The overlay in a user namespace of its own: layers of the store have ids from 0 on, and are mapped to its ids. */
function overlayRequest(
  container: ContainerSpec,
  root: string,
): Pick<RootfsRequest, "driver" | "extra" | "idmap" | "ids"> {
  const { overlayOptions, driver } = container.rootfs;
  // The others know nothing of maps: what they show has the ids of the layers.
  if (driver !== undefined) return { driver };
  const { uidMappings, gidMappings, host, userns } = container;
  const extra = overlayOptions.filter((word) => word === "index" || word === "metacopy" || word === "xino");
  // A process that is in a user namespace itself may not map; a store whose owners were mapped when it was filled need not.
  const mayMap = userns && host.euid === 0 && !host.userns && !overlayOptions.includes("noidmap");
  if (!mayMap || uidMappings.length === 0 || hasIdMap(root)) return { extra };
  return {
    extra,
    idmap: overlayOptions.includes("idmap") ? "all" : "store",
    ids: { uids: uidMappings, gids: gidMappings },
  };
}

export function mountLayers(overlay: RootfsRecord, container: ContainerSpec, joined: number | undefined): number {
  const { layers = [] } = container.rootfs;
  const isMapped =
    overlay.idmap === "all" || (overlay.idmap === "store" && layers.some((l) => l.startsWith("sha256:")));
  if (!isMapped) return mountRootfs(overlay);
  const ids = { uids: container.uidMappings, gids: container.gidMappings };
  if (joined !== undefined) return mountRootfs(overlay, { userns: joined, ids });
  const userns = newUserNamespace(ids);
  try {
    return mountRootfs(overlay, { userns, ids });
  } finally {
    closeQuiet(userns);
  }
}

/** What an id of the container is outside; `own` where it is not mapped. */
function outside(id: number, maps: ContainerSpec["uidMappings"], own: number): number {
  const map = maps.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return map ? map.hostID + id - map.containerID : own;
}

/** The ids that who sets the container up, its root, has outside. */
function mappedRoot(container: ContainerSpec): { uid: number; gid: number } {
  const { uidMappings, gidMappings, host } = container;
  const { uid, gid } = setupIds(container);
  return { uid: outside(uid, uidMappings, host.euid), gid: outside(gid, gidMappings, host.egid) };
}
