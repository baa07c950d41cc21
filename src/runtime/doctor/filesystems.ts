/** What the kernel and the caller's store make of an overlay. Rules: kernel filesystems/overlayfs.rst; mount_setattr(2). */
import { AT_FDCWD, AT_RECURSIVE, CLONE_NEWNS, MOUNT_ATTR_IDMAP, MS_PRIVATE, O_PATH } from "../../linux.ts";
import { dirname } from "../../path.ts";
import { AT_FDCWD as HERE, OPEN_TREE_CLONE } from "../../sys/constants.ts";
import { closeQuiet, Fd } from "../../sys/file.ts";
import { mkdirSync, statSync } from "../../sys/fs.ts";
import { mountSetattr, openTree } from "../../sys/mount.ts";
import { removePath } from "../../sys/remove.ts";
import { FIRST_FREE_FD as A, type PlainStep } from "../helper-init.ts";
import { newUserNamespace } from "../idmapped.ts";
import { attempt, type Outcome, type OverlayProbes, outcomeOf, type Probes } from "./probes.ts";

const B = A + 1;

/** A new directory where `path` is or would be, for as long as `use` takes. */
export function inDirectory(path: string, name: string, use: (dir: string) => void): Outcome {
  let parent = path;
  while (parent !== "/" && statSync(parent) === undefined) parent = dirname(parent);
  const dir = `${parent === "/" ? "" : parent}/${name}`;
  return outcomeOf(() => {
    mkdirSync(dir, { mode: 0o700 });
    try {
      use(dir);
    } finally {
      removePath(dir);
    }
  });
}

/** @param dir an empty directory on the file system of the store */
export function probeOverlay(host: Probes["host"], dir: string): OverlayProbes {
  const mark = host.euid === 0 && !host.userns ? [] : ["userxattr"];
  const layers = (name: string, options: string[], lower: string[] = ["lowerdir=a:b"]): Outcome => {
    const place = `${dir}/${name}`;
    mkdirSync(place);
    for (const part of ["a", "b", "upper", "work"]) mkdirSync(`${place}/${part}`, { mode: 0o755 });
    const settings = ["source=overlay", ...options, ...lower, "upperdir=upper", "workdir=work"];
    return attempt(host, `overlay ${name}`, [
      ["unshare", CLONE_NEWNS],
      // Relative, so that nothing of the path means something to overlayfs.
      ["open", A, place, O_PATH, 0],
      ["fchdir", A],
      ["fsmount", B, "overlay", 0, settings],
    ]);
  };
  return {
    layers: layers("layers", ["index=off", ...mark]),
    single: layers("single", ["index=off", ...mark], ["lowerdir+=a", "lowerdir+=b"]),
    userxattr: layers("userxattr", ["userxattr"]),
    index: layers("index", ["index=on", ...mark]),
    metacopy: layers("metacopy", ["metacopy=on", ...mark]),
    redirect: layers("redirect_dir", ["redirect_dir=on", ...mark]),
    volatile: layers("volatile", ["volatile", ...mark]),
    idmapped: probeIdmapped(dir),
  };
}

/** Root of the machine alone maps the ids of a file system that is his. */
function probeIdmapped(dir: string): Outcome {
  return outcomeOf(() => {
    const ids = [{ containerID: 0, hostID: 100000, size: 65536 }];
    const usernsFd = newUserNamespace({ uids: ids, gids: ids });
    try {
      using tree = new Fd(openTree(HERE, dir, OPEN_TREE_CLONE));
      mountSetattr(tree.fd, "", 0, { set: MOUNT_ATTR_IDMAP, usernsFd });
    } finally {
      closeQuiet(usernsFd);
    }
  });
}

/** The change of root, into a tmpfs on a directory. */
export function probePivot(host: Probes["host"], dir: string): Outcome {
  const steps: PlainStep[] = [
    ["unshare", CLONE_NEWNS],
    ["mountSetattr", AT_FDCWD, "/", AT_RECURSIVE, 0, 0, MS_PRIVATE, -1],
    ["fsmount", A, "tmpfs", 0, ["source=tmpfs"]],
    ["open", B, dir, O_PATH, 0],
    ["attach", A, B],
    ["pivot", A],
  ];
  return attempt(host, "pivot_root", steps);
}
