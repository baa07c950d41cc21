/**
 * The root filesystem of one container on disk: its read-write layer and its init layer over the layers it asks
 * for. Makes and removes directories; mount.ts mounts them.
 *
 *   overlay2/<mount id>/{diff,link,lower,work,merged}   overlay2/<mount id>-init/{diff,link,lower,committed}
 *   overlay2/l/<link> -> ../<id>/diff                   image/overlay2/layerdb/mounts/<container>/{mount-id,…}
 */
import { isErrno, SpecError, StateError } from "../errors.ts";
import { type Fd, flockDir } from "../sys/file.ts";
import { chmodSync, chownSync, existsSync, readdirSync, statSync, symlinkSync } from "../sys/fs.ts";
import { randomBytes } from "../sys/random.ts";
import { removeTree } from "../sys/remove.ts";
import { viewOf } from "../sys/structs.ts";
import {
  makeDirectory,
  makeVisible,
  type Owner,
  readText,
  unlinkQuiet,
  unmountQuiet,
  withStoreFix,
  writeText,
} from "./files.ts";
import { type IdMap, mappedOwner } from "./id-map.ts";
import { fillInitLayer } from "./init-layer.ts";
import { findLayers, type Layer } from "./layers.ts";
import {
  bundleName,
  DEFAULT_STORAGE_ROOT,
  initId,
  isFileName,
  isNamed,
  layerName,
  layerNameProblem,
  mountsDir,
  namedMountId,
  overlayDir,
} from "./layout.ts";
import { formatLower, hex, isLinkName, LINK_LENGTH, type Lower, linkName } from "./link.ts";
import { type MountRecord, makeStore, readRecord, removeRecord, usersOf, writeRecord } from "./records.ts";
import { forgetProject, limitLayer, projectOf } from "./size-limit.ts";

export interface RootfsRequest {
  /** The container. */
  id: string;
  /** Absolute directories or "sha256:<chain ID>", lowest first. */
  layers: readonly string[];
  /** Name of a read-write layer that outlives the container. */
  rwLayer?: string;
  /** For /etc/hostname and /etc/hosts; absent: the host's. */
  hostname?: string;
  /** For /etc/resolv.conf; absent: the host's. */
  resolvConf?: string;
  /** This process is not in the initial user namespace, so overlayfs must keep its marks in user.* attributes. */
  userns: boolean;
  storageRoot?: string;
  /**
   * Nothing that is written need survive a power failure: fsync(2) in the container does nothing, and the end of
   * the mount does not wait for the disk (Linux 5.10). For a container that is deleted when it ends; a named
   * layer is never mounted so.
   */
  volatile?: boolean;
  /** Another driver than overlay2 (drivers.ts). */
  driver?: string;
  /** Further words for overlayfs: index, metacopy, xino. */
  extra?: readonly string[];
  /** Ids of layers are mapped by mountRootfs's `userns`: of those of the store, or of all. */
  idmap?: "store" | "all";
  /** Where the ids of a layer that is mapped are outside. */
  ids?: IdMap;
  /** Root as the container's user namespace maps it; absent: ourselves. */
  owner?: Owner;
  /** The most that the read-write layer may take, in bytes: a project quota (size-limit.ts). */
  sizeBytes?: number;
  /** The container's bundle; one of the store (bundles.ts) is kept as long as the container's record. */
  bundle?: string;
  /** The container's state directory. While it exists, the container does, and nobody else gets its named layer. */
  stateDir?: string;
  /** Asked about containers that use the same named layer and left no `stateDir`: do they still exist? */
  inUse?: (container: string) => boolean;
}

/** What mountRootfs and removeRootfs need, and state.json keeps. */
export interface RootfsRecord {
  id: string;
  storageRoot: string;
  stateDir?: string;
  mountId: string;
  /** The directory that the container's root is to be mounted on. */
  merged: string;
  /** The read-write layer outlives the container. */
  named: boolean;
  userns: boolean;
  volatile: boolean;
  /** As in the request. */
  driver?: string;
  extra?: readonly string[];
  idmap?: "store" | "all";
  /** The layer is a project of a quota. */
  isLimited?: boolean;
  /** Links in overlay2/l that go with the container. */
  links: string[];
}

/**
 * Makes the directories of a container's root filesystem. Mounts nothing.
 *
 * Expects the caller to hold the container's id for itself. After a failure, or a kill at any point,
 * removeRootfs({id, storageRoot}) takes away what was made.
 *
 * @throws SpecError for layers that are not there; StateError for a named layer that another container has;
 *   or a size that cannot be limited; SyscallError for a store that cannot be written
 */
export function prepareRootfs(request: RootfsRequest): RootfsRecord {
  try {
    return prepare(request);
  } catch (error) {
    throw withStoreFix(error, request.storageRoot ?? DEFAULT_STORAGE_ROOT);
  }
}

function prepare(request: RootfsRequest): RootfsRecord {
  const { id, storageRoot = DEFAULT_STORAGE_ROOT } = request;
  checkNames(request);
  // A layer of the store must not be taken away before `lower` and the record say that it is needed.
  using _store = usesStore(request) ? lockShared(storageRoot) : undefined;
  const layers = findLayers(request.layers, storageRoot);
  const random = randomBytes(32 + 2 * LINK_LENGTH);
  const mountId = request.rwLayer === undefined ? hex(random.subarray(0, 32)) : namedMountId(request.rwLayer);
  claim(request, storageRoot, mountId, layers);

  const home = `${overlayDir(storageRoot)}/${mountId}`;
  const named = isNamed(mountId);
  if (named) removeLayer(storageRoot, initId(mountId)); // of a container that was killed
  const initLink = makeInitLayer(request, storageRoot, mountId, layers, random.subarray(32));
  const link = makeLayer(storageRoot, mountId, request.owner, random.subarray(32 + LINK_LENGTH));
  makeDirectory(`${home}/work`, 0o700, request.owner);
  writeText(`${home}/lower`, formatLower([{ link: initLink }, ...topFirst(layers)]));
  makeDirectory(`${home}/merged`, 0o700, request.owner);
  rememberDriver(home, request.driver);
  // What the container writes has ids of outside: they are the container's again in what is made of the layer.
  if (request.ids !== undefined) writeText(`${home}/ids`, JSON.stringify(request.ids));
  const isLimited = request.sizeBytes !== undefined || (named && projectOf(home) !== undefined);
  if (request.sizeBytes !== undefined) limitLayer(home, request.sizeBytes, viewOf(random).getUint32(0, true));
  return {
    id,
    storageRoot,
    ...(request.stateDir !== undefined && { stateDir: request.stateDir }),
    mountId,
    merged: `${home}/merged`,
    named,
    userns: request.userns,
    volatile: request.volatile === true && !named,
    ...(request.extra !== undefined && request.extra.length > 0 && { extra: request.extra }),
    ...(request.idmap !== undefined && { idmap: request.idmap }),
    ...(request.driver !== undefined && { driver: request.driver }),
    ...(isLimited && { isLimited }),
    links: named ? [initLink] : [initLink, link],
  };
}

/** A named layer is what its driver made of it: it cannot be another one's. */
function rememberDriver(home: string, driver = "overlay2"): void {
  const known = readText(`${home}/driver`);
  if (known === undefined && driver === "overlay2") return;
  if (known !== undefined && known !== driver)
    throw new StateError(`the read-write layer ${home} is one of driver ${known}, not of ${driver}`, {
      fix: `--driver ${known}`,
    });
  if (known === undefined && readdirSync(`${home}/diff`).length > 0)
    throw new StateError(`the read-write layer ${home} is one of driver overlay2, not of ${driver}`, {
      fix: "leave out --driver",
    });
  writeText(`${home}/driver`, driver);
}

/** Were the owners of the store's layers mapped when they were imported? Then they are not to be mapped again. */
export function hasIdMap(storageRoot: string): boolean {
  return existsSync(`${storageRoot}/image/overlay2/idmap.json`);
}

function usesStore({ layers }: RootfsRequest): boolean {
  return layers.some((layer) => layer.startsWith("sha256:"));
}

/** The lock of store-lock.ts; undefined where there is no store yet, which findLayers says better. */
function lockShared(storageRoot: string): Fd | undefined {
  const path = `${storageRoot}/image/overlay2`;
  return existsSync(path) ? flockDir(path, { exclusive: false }) : undefined;
}

function checkNames({ id, rwLayer }: RootfsRequest): void {
  if (!isFileName(id)) throw new StateError(`container id ${JSON.stringify(id)} cannot name a directory`);
  const problem = rwLayer === undefined ? undefined : layerNameProblem(rwLayer);
  if (problem !== undefined) throw new SpecError([{ path: "org.tsrun.rw-layer", message: problem }]);
}

function topFirst(layers: readonly Layer[]): Lower[] {
  return layers.map((layer) => layer.lower).reverse();
}

/**
 * Records the mount id before anything of it exists: from then on the container's id is enough to find it all.
 * Under a lock for a named layer, so that of two containers one gets it.
 */
function claim(request: RootfsRequest, storageRoot: string, mountId: string, layers: readonly Layer[]): void {
  const { id, stateDir } = request;
  const bundle = request.bundle === undefined ? undefined : bundleName(storageRoot, request.bundle);
  const parent = layers.at(-1)?.chainId;
  const entry: MountRecord = {
    mountId,
    ...(parent !== undefined && { parent }),
    ...(stateDir !== undefined && { stateDir }),
    ...(bundle !== undefined && { bundle }),
  };
  if (!isNamed(mountId)) {
    record(request, storageRoot, entry);
    return;
  }
  makeStore(storageRoot); // the lock's place
  using _lock = flockDir(mountsDir(storageRoot));
  for (const user of usersOf(storageRoot, mountId, id)) {
    if (isAlive(request, storageRoot, user)) throw inUse(mountId, user);
    // A dead user's record must not stay: deleting that container later would take our init layer away.
    removeRecord(storageRoot, user);
  }
  record(request, storageRoot, entry);
}

function record({ id, stateDir }: RootfsRequest, storageRoot: string, entry: MountRecord): void {
  if (writeRecord(storageRoot, id, entry)) return;
  const other = readRecord(storageRoot, id)?.stateDir;
  if (isOthers(other, stateDir)) {
    throw new StateError(`the store at ${storageRoot} has a container ${id} already, whose state is ${other}`, {
      fix: "choose another id",
    });
  }
  removeRootfs({ id, storageRoot }); // of a create that was killed
  writeRecord(storageRoot, id, entry);
}

/**
 * Is this recorded state directory that of another container, which is still there? Ids are unique below one
 * state root only, and containers of several share the store. The same directory may have two names (/var/run).
 */
function isOthers(recorded: string | undefined, own: string | undefined): boolean {
  if (recorded === undefined || recorded === own) return false;
  const theirs = statSync(recorded);
  if (theirs === undefined) return false;
  const ours = own === undefined ? undefined : statSync(own);
  return ours?.ino !== theirs.ino || ours.dev !== theirs.dev;
}

function inUse(mountId: string, user: string): StateError {
  return new StateError(`read-write layer ${layerName(mountId)} is in use by container ${user}`, {
    fix: `delete container ${user} first, or choose another name for the layer`,
  });
}

function isAlive({ inUse }: RootfsRequest, storageRoot: string, container: string): boolean {
  const stateDir = readRecord(storageRoot, container)?.stateDir;
  return stateDir === undefined ? (inUse?.(container) ?? false) : existsSync(stateDir);
}

/** Makes the layer that holds this container's own /etc/hostname and the like. Returns its link. */
function makeInitLayer(
  { hostname, resolvConf, owner, idmap, ids }: RootfsRequest,
  storageRoot: string,
  mountId: string,
  layers: readonly Layer[],
  random: Uint8Array,
): string {
  const home = `${overlayDir(storageRoot)}/${initId(mountId)}`;
  const link = makeLayer(storageRoot, initId(mountId), owner, random);
  writeText(`${home}/lower`, formatLower(topFirst(layers)));
  fillInitLayer({
    directory: `${home}/diff`,
    layers: layers.map((layer) => layer.directory),
    ...(ids !== undefined && {
      mapOwner: (shown: Owner, index: number) =>
        idmap === "all" || (idmap === "store" && layers[index]?.chainId !== undefined)
          ? mappedOwner(shown, ids)
          : shown,
    }),
    ...(hostname !== undefined && { hostname }),
    ...(resolvConf !== undefined && { resolvConf }),
    ...(owner !== undefined && { owner }),
  });
  // Docker's mark of a layer that has others on top of it: it is only to be mounted read-only.
  writeText(`${home}/committed`, "");
  const cacheId = layers.at(-1)?.cacheId;
  if (cacheId !== undefined) writeText(`${overlayDir(storageRoot)}/${cacheId}/committed`, "");
  return link;
}

/**
 * Makes overlay2/<id>/{diff,link} and its link, or what is missing of them in a named layer.
 * The name of the link is written before the link itself: who finds the layer finds the link.
 */
function makeLayer(storageRoot: string, id: string, owner: Owner | undefined, random: Uint8Array): string {
  const home = `${overlayDir(storageRoot)}/${id}`;
  const isNew = makeDirectory(home, 0o710);
  if (owner !== undefined) allowGroup(home, owner);
  makeVisible(`${home}/diff`, 0o755, owner);
  const known = isNew ? undefined : readLink(home);
  const link = known ?? linkName(random);
  if (known === undefined) writeText(`${home}/link`, link);
  try {
    symlinkSync(`../${id}/diff`, `${overlayDir(storageRoot)}/l/${link}`);
  } catch (error) {
    // Only where the link was known: 130 random bits do not meet.
    if (known === undefined || !isErrno(error, "EEXIST")) throw error;
  }
  return link;
}

/** Root of the container's user namespace may pass through the layer's directory, and nobody else. */
function allowGroup(home: string, owner: Owner): void {
  chownSync(home, process.geteuid?.() ?? 0, owner.gid);
  chmodSync(home, 0o710); // whatever the umask is
}

function readLink(home: string): string | undefined {
  const link = readText(`${home}/link`);
  return link !== undefined && isLinkName(link) ? link : undefined;
}

export interface RemovalRequest {
  /** The container. */
  id: string;
  storageRoot?: string;
  /** As in the request. With it, what belongs to a living container of the same id elsewhere is left alone. */
  stateDir?: string;
  /** Has the layer's size a limit? Left out: look. */
  isLimited?: boolean | undefined;
}

/**
 * Removes what prepareRootfs made for a container: all of it, except a named read-write layer. Any part may be
 * missing already. The record goes last, so that a removal that was killed can be done again; to be called
 * before the state directory goes, which keeps others from the layer until then.
 *
 * @throws SyscallError when something is mounted below, which is never removed
 */
export function removeRootfs({
  id,
  storageRoot = DEFAULT_STORAGE_ROOT,
  stateDir,
  isLimited = true,
}: RemovalRequest): void {
  if (!isFileName(id)) throw new StateError(`container id ${JSON.stringify(id)} cannot name a directory`);
  const record = readRecord(storageRoot, id);
  if (record === undefined || (stateDir !== undefined && isOthers(record.stateDir, stateDir))) return;
  if (record.mountId !== "") {
    // Left there by a mountRootfs that was killed, on kernels that need a place to mount.
    unmountQuiet(`${overlayDir(storageRoot)}/${record.mountId}/merged`);
    removeLayer(storageRoot, initId(record.mountId));
    if (!isNamed(record.mountId)) {
      const home = `${overlayDir(storageRoot)}/${record.mountId}`;
      const known = isLimited ? projectOf(home) : undefined;
      removeLayer(storageRoot, record.mountId);
      if (known !== undefined) forgetProject(overlayDir(storageRoot), known.project);
    }
  }
  removeRecord(storageRoot, id);
}

/** The trees of a container's unnamed read-write layer, which may hold files of others than the caller. */
export function ownTrees({ storageRoot, mountId, named }: RootfsRecord): string[] {
  const home = `${overlayDir(storageRoot)}/${mountId}`;
  return named ? [] : [`${home}/diff`, `${home}/work`];
}

/** Removes overlay2/<id> and the link to it. */
function removeLayer(storageRoot: string, id: string): void {
  const overlay = overlayDir(storageRoot);
  const link = readLink(`${overlay}/${id}`);
  if (link !== undefined) unlinkQuiet(`${overlay}/l/${link}`);
  removeTree(overlay, id);
}

/**
 * One plain removal for the foreground monitor: "t" a tree without crossing mounts, "u" a file, "r" a directory.
 * "s" stops it when something could not be removed: the record of it stays then.
 */
export interface CleanupStep {
  op: "t" | "u" | "r" | "s";
  path: string;
}

/** removeRootfs as a list of removals, in its order; none of them minds when there is nothing to remove. */
export function cleanupSteps({ id, storageRoot, mountId, named, links }: RootfsRecord): CleanupStep[] {
  const overlay = overlayDir(storageRoot);
  const steps: CleanupStep[] = links.map((link) => ({ op: "u", path: `${overlay}/l/${link}` }));
  steps.push({ op: "t", path: `${overlay}/${initId(mountId)}` });
  if (!named) steps.push({ op: "t", path: `${overlay}/${mountId}` });
  steps.push({ op: "s", path: "" }, { op: "t", path: `${mountsDir(storageRoot)}/${id}` });
  return steps;
}
