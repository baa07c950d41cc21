/**
 * A trial: a copy-on-write view of a directory tree, by default the running system's. What is written goes to
 * <store>/try/<name>/diff, and can be looked at, taken over into the tree, or dropped.
 */
import { isErrno, StateError, SyscallError } from "../errors.ts";
import { AT_FDCWD, MNT_DETACH, O_DIRECTORY, O_PATH, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { Fd, flockDir, open } from "../sys/file.ts";
import { existsSync, mkdirSync, readdirSync } from "../sys/fs.ts";
import { fsconfigCreate, fsconfigSet, fsmount, fsopen, moveMount, umount2 } from "../sys/mount.ts";
import { removeTree } from "../sys/remove.ts";
import { applyEntries } from "./apply.ts";
import { ChangedLayers } from "./diff.ts";
import { readText, writeText } from "./files.ts";
import type { StoreContext } from "./import.ts";
import type { ChangedPath } from "./inspect.ts";
import { layerNameProblem } from "./layout.ts";
import { isPlainValue } from "./options.ts";
import { ensureStore } from "./store-lock.ts";
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
export function trials(storageRoot: string): string[] {
  const dir = trialsDir(storageRoot);
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}

/**
 * Opens a trial: a new one, or what was kept under a name.
 *
 * @param base the tree below; one trial is always of the same tree
 * @throws StateError when somebody else has it open
 */
export function openTrial({ storageRoot, space }: StoreContext, name: string, base: string, mustExist: boolean): Trial {
  const problem = layerNameProblem(name);
  if (problem !== undefined) throw new StateError(problem);
  const home = `${trialsDir(storageRoot)}/${name}`;
  if (mustExist && !existsSync(home)) {
    const kept = trials(storageRoot);
    throw new StateError(`there is no trial ${name}`, {
      fix: kept.length > 0 ? `there are: ${kept.join(", ")}` : "tsrun try --keep NAME -- COMMAND makes one",
    });
  }
  ensureStore(storageRoot);
  mkdirSync(home, { mode: 0o700, recursive: true });
  const lock = lockTrial(home, name);
  try {
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

function lockTrial(home: string, name: string): Fd {
  try {
    return flockDir(home, { nonBlock: true });
  } catch (error) {
    if (!isErrno(error, "EAGAIN")) throw error;
    throw new StateError(`trial ${name} is in use by another tsrun`);
  }
}

/** Mounts the view of a trial for as long as the result lives. */
export function mountTrial(storageRoot: string, name: string, base: string): Disposable {
  const home = `${trialsDir(storageRoot)}/${name}`;
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
  return { [Symbol.dispose]: () => umount2(`${home}/merged`, MNT_DETACH | UMOUNT_NOFOLLOW) };
}
