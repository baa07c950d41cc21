/**
 * A trial: a copy-on-write view of a directory tree, by default the running system's. What is written goes to
 * <store>/try/<name>/diff, and can be looked at, taken over into the tree, or dropped.
 *
 *   base        the tree
 *   diff, work, merged   of the overlay
 *   temporary   it has no name, and goes with the tsrun that made it
 *   state       the state directory of the container that runs in it; bundle/ is what that is made of
 */
import { isErrno, StateError, SyscallError } from "../errors.ts";
import { AT_FDCWD, MNT_DETACH, O_DIRECTORY, O_PATH, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { Fd, flockDir, open } from "../sys/file.ts";
import { existsSync, mkdirSync, readdirSync } from "../sys/fs.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen, moveMount, umount2 } from "../sys/mount.ts";
import { removeTree } from "../sys/remove.ts";
import { applyEntries } from "./apply.ts";
import type { StoreContext } from "./context.ts";
import { ChangedLayers } from "./diff.ts";
import { readText, unlinkQuiet, unmountQuiet, writeText } from "./files.ts";
import type { ChangedPath } from "./inspect.ts";
import { layerNameProblem } from "./layout.ts";
import { isPlainValue } from "./options.ts";
import { ensureStore, lockStore } from "./store-lock.ts";
import { shown } from "./tar/bytes.ts";

export interface Trial extends Disposable {
  /** The view, while it is mounted. */
  root: string;
  changes(): ChangedPath[];
  /** Takes what was changed over into the tree. @returns how many entries there were */
  apply(): number;
  /** Forgets what was changed. */
  drop(): void;
}

function trialsDir(storageRoot: string): string {
  return `${storageRoot}/try`;
}

/** Names of the trials that were kept. */
function trials(storageRoot: string): string[] {
  return all(storageRoot)
    .filter((name) => !isTemporary(`${trialsDir(storageRoot)}/${name}`))
    .sort();
}

function all(storageRoot: string): string[] {
  const dir = trialsDir(storageRoot);
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** One without `base` was never finished. */
function isTemporary(home: string): boolean {
  return existsSync(`${home}/temporary`) || !existsSync(`${home}/base`);
}

export interface TrialRequest {
  name: string;
  /** The tree below; one trial is always of the same tree. */
  base: string;
  /** The name was made up. */
  isTemporary: boolean;
  /** It is not to be made. */
  mustExist: boolean;
}

/**
 * Opens a trial: a new one, or what was kept under a name.
 *
 * @throws StateError when somebody else has it open
 */
export function openTrial({ storageRoot, space }: StoreContext, request: TrialRequest): Trial {
  const { name, base, mustExist } = request;
  const problem = layerNameProblem(name);
  if (problem !== undefined) throw new StateError(problem);
  const home = `${trialsDir(storageRoot)}/${name}`;
  if (mustExist && !existsSync(home)) {
    const kept = trials(storageRoot);
    throw new StateError(`there is no trial ${name}`, {
      fix: kept.length > 0 ? `there are: ${kept.join(", ")}` : "tsrun try --keep NAME -- COMMAND makes one",
    });
  }
  const lock = makeTrial(storageRoot, home, name);
  try {
    if (request.isTemporary) writeText(`${home}/temporary`, "1");
    const known = readText(`${home}/base`);
    if (known !== undefined && known !== base) throw new StateError(`trial ${name} is one of ${known}, not of ${base}`);
    if (known === undefined) writeText(`${home}/base`, base);
    for (const [part, mode] of [
      ["diff", 0o755],
      ["work", 0o700],
      ["merged", 0o700],
    ] as const) {
      if (!existsSync(`${home}/${part}`)) mkdirSync(`${home}/${part}`, { mode });
    }
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  const layers = () =>
    new ChangedLayers({ mountId: name, upper: `${home}/diff`, lowers: [base], parent: undefined }, space);
  return {
    root: `${home}/merged`,
    changes() {
      using changed = layers();
      return [...changed.changes()].map(({ kind, path }) => ({ kind, path: `/${shown(path)}` }));
    },
    apply() {
      using changed = layers();
      using target = new Fd(open(base, O_PATH | O_DIRECTORY));
      return applyEntries(target.fd, changed.entries({}));
    },
    drop() {
      removeTree(trialsDir(storageRoot), name);
    },
    [Symbol.dispose]: () => lock[Symbol.dispose](),
  };
}

function makeTrial(storageRoot: string, home: string, name: string): Fd {
  ensureStore(storageRoot);
  // Under the lock of the store: nobody may find it before it is locked itself.
  using _store = lockStore(storageRoot);
  mkdirSync(home, { mode: 0o700, recursive: true });
  const lock = lockQuiet(home);
  if (lock === undefined) throw new StateError(`trial ${name} is in use by another tsrun`);
  return lock;
}

/** undefined when somebody has it. */
function lockQuiet(home: string): Fd | undefined {
  try {
    return flockDir(home, { nonBlock: true });
  } catch (error) {
    if (!isErrno(error, "EAGAIN")) throw error;
    return undefined;
  }
}

/**
 * Takes away what killed ones have left: views that are mounted, and trials that nobody asked to keep. The caller holds
 * the lock of the store.
 *
 * @param end ends the container of this state directory; without it a trial stays as long as that is there
 * @returns how many there were
 */
export function sweepTrials(storageRoot: string, end?: (stateDir: string) => void): number {
  let count = 0;
  for (const name of all(storageRoot)) {
    const home = `${trialsDir(storageRoot)}/${name}`;
    using lock = lockQuiet(home);
    if (lock === undefined) continue;
    const stateDir = readText(`${home}/state`);
    if (stateDir === undefined && !isTemporary(home)) continue;
    if (stateDir !== undefined && existsSync(stateDir)) {
      if (end === undefined) continue;
      end(stateDir);
    }
    unmountQuiet(`${home}/merged`);
    removeTree(home, "bundle");
    unlinkQuiet(`${home}/state`);
    if (isTemporary(home)) removeTree(trialsDir(storageRoot), name);
    count++;
  }
  return count;
}

/**
 * Mounts the view of a trial for as long as the result lives, for a container of this state directory: while that is there,
 * the view is needed, whatever happens to us.
 */
export function mountTrial(
  storageRoot: string,
  { name, base, stateDir }: { name: string; base: string; stateDir: string },
): Disposable & { bundle: string } {
  const home = `${trialsDir(storageRoot)}/${name}`;
  const bundle = `${home}/bundle`;
  writeText(`${home}/state`, stateDir);
  mkdirSync(bundle, { mode: 0o700 });
  using context = new Fd(fsopen("overlay"));
  const set = (option: string, value: string): void => {
    if (!isPlainValue(value))
      throw new SyscallError("mount overlay", "EINVAL", { path: value, fix: "use a path of plain characters" });
    fsconfigSet(context.fd, option, value);
  };
  fsconfigSet(context.fd, "source", "overlay");
  // Without these a rename would be written down as a rename, which only this overlay could read.
  for (const option of ["index", "metacopy", "redirect_dir"]) fsconfigSet(context.fd, option, "off");
  set("lowerdir", base);
  set("upperdir", `${home}/diff`);
  set("workdir", `${home}/work`);
  fsconfigCreate(context.fd, `${home}/merged`);
  {
    using mount = new Fd(fsmount(context.fd));
    moveMount(mount.fd, "", AT_FDCWD, `${home}/merged`);
  }
  const dispose = () => {
    umount2(`${home}/merged`, MNT_DETACH | UMOUNT_NOFOLLOW);
    removeTree(home, "bundle");
    unlinkQuiet(`${home}/state`);
  };
  return { bundle, [Symbol.dispose]: dispose };
}
