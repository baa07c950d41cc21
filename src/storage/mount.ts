/**
 * Mounts a container's root filesystem. The result is detached: a descriptor of an overlay that is nowhere in the
 * host's tree, for the init to attach inside the container's mount namespace. When the descriptor and every
 * namespace that attached it are gone, so is the mount.
 *
 * Linux 6.13 takes layers by descriptor and 6.8 by one string each, 500 of them; 6.15 takes a detached mount as a
 * layer, and so the lowest of more layers as one. Older kernels read all options from one page, and mount only at
 * a place: there the overlay is mounted on `merged` for a moment.
 */
import { SyscallError, TsrunError } from "../errors.ts";
import { warn } from "../log.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLONE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { closeQuiet, Fd, open } from "../sys/file.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen, mount, openTree, umount2 } from "../sys/mount.ts";
import { kernelVersion } from "../sys/process.ts";
import { driverNamed } from "./drivers.ts";
import { readText } from "./files.ts";
import type { IdMap } from "./id-map.ts";
import { NotIdmappable, withIdmapped } from "./idmapped-layers.ts";
import { overlayLogDuring } from "./kernel-log.ts";
import { MAX_LOWERS, overlayDir } from "./layout.ts";
import { escapeLower, type Lower, parseLower } from "./link.ts";
import { mappedCopies } from "./mapped-copies.ts";
import {
  commonOptions,
  escapeComma,
  fitsPage,
  isPlainValue,
  mountData,
  mountFix,
  type Overlay,
  splitLowers,
} from "./options.ts";
import type { RootfsRecord } from "./rootfs.ts";
import { withoutLimit } from "./size-limit.ts";

/** The user namespace whose ids the layers get, and what these are. */
export interface Mapping {
  userns: number;
  ids: IdMap;
}

/**
 * A descriptor of the detached overlay mount; the caller closes it.
 *
 * @param mapping for a record that asks for it
 * @throws SyscallError with the kernel's own reason as its cause, where it gave one
 */
export function mountRootfs(record: RootfsRecord, mapping?: Mapping): number {
  const kernel = kernelVersion();
  const overlay = readOverlay(record, kernel);
  if (record.driver !== undefined) return driverNamed(record.driver).mount(homeOf(record), overlay);
  const mountNow = (mapped: Overlay): number => {
    if (isAtLeast(kernel, 6, 8)) return mountDetached(mapped, kernel);
    return mountAtPlace(mapped, record.merged);
  };
  const attempt = (): number => {
    if (record.idmap === undefined || mapping === undefined) return mountNow(overlay);
    return mountMapped(record, overlay, mapping, kernel, mountNow);
  };
  const explainedAttempt = (): number => {
    try {
      return attempt();
    } catch (error) {
      if (!isUnexplained(error)) throw explained(error, overlay, record.merged);
    }
    return attemptWithLog(attempt, overlay, record.merged);
  };
  return record.isLimited ? withoutLimit(homeOf(record), explainedAttempt) : explainedAttempt();
}

function homeOf({ storageRoot, mountId }: RootfsRecord): string {
  return `${overlayDir(storageRoot)}/${mountId}`;
}

/** An overlay that somebody else mounts: what the kernel is to be told. */
export interface OverlayData {
  options: string[];
  directories: { option: string; path: string; isPlain: boolean }[];
  /** For kernels before 6.8, as for mountAtPlace; no data: it is there already. */
  atPlace: { path: string; data: string | undefined } | undefined;
}

/**
 * The mount of mountRootfs as data, for the process whose user namespace is to own it.
 *
 * @throws SyscallError when there are more layers than this kernel takes
 */
export function overlayData(record: RootfsRecord): OverlayData {
  const kernel = kernelVersion();
  const overlay = readOverlay(record, kernel);
  const { lowers, upper, work } = overlay;
  const options = commonOptions(overlay).map(([name, value]) => (value === undefined ? name : `${name}=${value}`));
  if (isAtLeast(kernel, 6, 8)) {
    if (lowers.length > MAX_LOWERS) throw tooMany(lowers.length);
    const named = [...lowers.map((path) => ["lowerdir+", path]), ["upperdir", upper], ["workdir", work]] as const;
    const directories = named.map(([option = "", path = ""]) => ({ option, path, isPlain: isPlainValue(path) }));
    return { options, directories, atPlace: undefined };
  }
  const data = mountData(overlay);
  if (!fitsPage(data)) throw tooMany(lowers.length);
  return { options, directories: [], atPlace: { path: record.merged, data } };
}

/** The layers of a root filesystem without its read-write one, as data: for a copy of them. */
export function layersData(record: RootfsRecord): OverlayData {
  const kernel = kernelVersion();
  const { lowers, userxattr } = readOverlay(record, kernel);
  const options = commonOptions({ userxattr, volatile: false }).map(([name, value]) =>
    value === undefined ? name : `${name}=${value}`,
  );
  if (isAtLeast(kernel, 6, 8)) {
    if (lowers.length > MAX_LOWERS) throw tooMany(lowers.length);
    const directories = lowers.map((path) => ({ option: "lowerdir+", path, isPlain: isPlainValue(path) }));
    return { options, directories, atPlace: undefined };
  }
  const data = [...options, `lowerdir=${lowers.map((path) => escapeComma(escapeLower(path))).join(":")}`].join(",");
  if (!fitsPage(data)) throw tooMany(lowers.length);
  return { options, directories: [], atPlace: { path: record.merged, data } };
}

/** The directories and options of the mount, for a program that makes it. */
export function overlayOf(record: RootfsRecord): Overlay {
  return readOverlay(record, kernelVersion());
}

/** The directories that a root filesystem is made of, top first. */
export function rootfsDirectories(record: RootfsRecord): string[] {
  const { upper, lowers } = readOverlay(record, kernelVersion());
  return [upper, ...lowers];
}

/** Idmapped where the kernel and the file system of the layers can; with copies of the layers, and a warning, where not. */
function mountMapped(
  record: RootfsRecord,
  overlay: MappedOverlay,
  { userns, ids }: Mapping,
  kernel: Kernel,
  mountNow: (overlay: Overlay) => number,
): number {
  const { lowers, isMapped = [] } = overlay;
  const mount = (paths: readonly string[]) => mountNow({ ...overlay, lowers: paths });
  const places = isAtLeast(kernel, 6, 15) ? undefined : `${record.merged}/../lowers`;
  let reason = "this kernel's overlayfs takes no idmapped layers before Linux 5.19";
  if (isAtLeast(kernel, 5, 19)) {
    try {
      return withIdmapped({ lowers, isMapped, userns, places }, mount);
    } catch (error) {
      if (!(error instanceof NotIdmappable)) throw error;
      reason = error.message;
    }
  }
  const home = homeOf(record);
  const { paths, made } = mappedCopies({ storageRoot: record.storageRoot, home, lowers, isMapped, ids });
  const count = isMapped.filter(Boolean).length;
  warn(`${count} layers are copies with the ids of the container, ${made} of them made now: ${reason}`);
  return mount(paths);
}

/** The same once more, to see what the kernel writes into its log about it. */
function attemptWithLog(attempt: () => number, overlay: Overlay, merged: string): number {
  let mounted = -1;
  let failure: unknown;
  const reasons = overlayLogDuring(() => {
    try {
      mounted = attempt();
    } catch (error) {
      failure = error;
    }
  });
  if (mounted !== -1) return mounted;
  throw explained(failure, overlay, merged, reasons.join("; "));
}

/** A refusal of the mount as a whole, about which the kernel has said nothing but an errno. */
function isUnexplained(error: unknown): boolean {
  return error instanceof SyscallError && error.cause === undefined && error.operation !== "open";
}

type MappedOverlay = Overlay & { isMapped?: readonly boolean[] };

/** The directories of the mount, as prepareRootfs wrote them down. */
function readOverlay(record: RootfsRecord, kernel: Kernel): MappedOverlay {
  const { storageRoot, userns, volatile, extra, idmap } = record;
  const home = homeOf(record);
  const lower = readText(`${home}/lower`);
  if (lower === undefined) throw new SyscallError("open", "ENOENT", { path: `${home}/lower` });
  const toPath = (layer: Lower) => ("link" in layer ? `${overlayDir(storageRoot)}/l/${layer.link}` : layer.path);
  const layers = parseLower(lower);
  return {
    lowers: layers.map(toPath),
    // The first one is the init layer, which was made with the ids of outside.
    ...(idmap !== undefined && { isMapped: layers.map((layer, i) => i > 0 && (idmap === "all" || "link" in layer)) }),
    ...(extra !== undefined && { extra }),
    upper: `${home}/diff`,
    work: `${home}/work`,
    userxattr: userns,
    volatile: volatile && isAtLeast(kernel, 5, 10),
  };
}

type Kernel = readonly [major: number, minor: number];

function isAtLeast(kernel: Kernel, major: number, minor: number): boolean {
  return kernel[0] > major || (kernel[0] === major && kernel[1] >= minor);
}

function mountDetached(overlay: Overlay, kernel: Kernel): number {
  if (overlay.lowers.length > MAX_LOWERS && !isAtLeast(kernel, 6, 15)) throw tooMany(overlay.lowers.length);
  const byDescriptor = isAtLeast(kernel, 6, 13);
  using context = new Fd(fsopen("overlay"));
  fsconfigSet(context.fd, "source", "overlay"); // what mountinfo shows; "none" otherwise
  for (const [name, value] of commonOptions(overlay)) fsconfigSet(context.fd, name, value);
  const { single, rest } = splitLowers(overlay.lowers);
  for (const lower of single) setDirectory(context.fd, "lowerdir+", lower, byDescriptor);
  // Open until the overlay is made: a detached mount goes with its descriptor.
  using bottom = rest.length === 0 ? undefined : new Fd(mountReadOnly(rest, overlay));
  if (bottom !== undefined) fsconfigSet(context.fd, "lowerdir+", bottom.fd);
  setDirectory(context.fd, "upperdir", overlay.upper, byDescriptor);
  setDirectory(context.fd, "workdir", overlay.work, byDescriptor);
  fsconfigCreate(context.fd);
  return fsmount(context.fd);
}

/** The lowest layers as one: below them is nothing that their whiteouts would have to hide. */
function mountReadOnly(lowers: readonly string[], { userxattr }: Overlay): number {
  using context = new Fd(fsopen("overlay"));
  for (const [name, value] of commonOptions({ userxattr, volatile: false })) fsconfigSet(context.fd, name, value);
  for (const lower of lowers) setDirectory(context.fd, "lowerdir+", lower, true);
  fsconfigCreate(context.fd);
  return fsmount(context.fd, MOUNT_ATTR_RDONLY);
}

function setDirectory(context: number, option: string, path: string, byDescriptor: boolean): void {
  if (!byDescriptor && isPlainValue(path)) {
    fsconfigSet(context, option, path);
    return;
  }
  using directory = new Fd(open(path, O_PATH | O_DIRECTORY));
  // The kernel follows this magic link at once, so the descriptor need not outlive the call.
  fsconfigSet(context, option, byDescriptor ? directory.fd : `/proc/self/fd/${directory.fd}`);
}

/** For kernels before 6.8: mounts at `merged`, takes a clone of that mount, and unmounts. */
function mountAtPlace(overlay: Overlay, merged: string): number {
  const data = mountData(overlay);
  if (fitsPage(data)) mount("overlay", merged, "overlay", 0, data);
  else mountByDescriptors(overlay, merged);
  try {
    // A shared mount would be cloned as a shared one, and pivot_root(2) refuses such a root.
    mount(null, merged, null, MS_PRIVATE);
    return openTree(AT_FDCWD, merged, OPEN_TREE_CLONE);
  } finally {
    umount2(merged, MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

/** Descriptors keep the name of a layer short: some 200 layers fit into the page, whatever their paths are. */
function mountByDescriptors(overlay: Overlay, merged: string): void {
  const descriptors: number[] = [];
  try {
    for (const lower of overlay.lowers) descriptors.push(open(lower, O_PATH | O_DIRECTORY));
    const data = mountData({ ...overlay, lowers: descriptors.map((fd) => `/proc/self/fd/${fd}`) });
    if (!fitsPage(data)) throw tooMany(overlay.lowers.length);
    mount("overlay", merged, "overlay", 0, data);
  } finally {
    for (const fd of descriptors) closeQuiet(fd);
  }
}

function tooMany(count: number): SyscallError {
  return new SyscallError("mount overlay", "E2BIG", {
    cause: new TsrunError(`this kernel cannot mount ${count} layers at once`),
    fix: "use fewer layers: some 200 can be mounted before Linux 6.8, 499 before 6.15, 998 from then on",
  });
}

/** The error as one about the mount as a whole, with the kernel's reason as its cause and what is known to help. */
function explained(error: unknown, overlay: Overlay, merged: string, logged = ""): unknown {
  if (!(error instanceof SyscallError) || error.operation === "open" || error.operation === "mount overlay")
    return error;
  const said = logged === "" ? undefined : new TsrunError(`the kernel says: ${logged}`);
  const cause = said ?? (error.cause instanceof TsrunError ? error.cause : error);
  const fix = mountFix(error.code, cause === error ? "" : cause.message, overlay);
  return new SyscallError("mount overlay", error.code, { path: merged, cause, ...(fix !== undefined && { fix }) });
}
