/**
 * Driver fuse-overlayfs for a caller who is not root: the program runs in the container's user namespace and in a mount
 * namespace of its own, from which its mount reaches the container's process while that waits for its ids. In the
 * container's own one the change of root would take it along. Rules: mount_namespaces(7) "Peer groups", fuse-overlayfs(1).
 */

import { TsrunError } from "../errors.ts";
import { AT_FDCWD, CLONE_NEWNS, CLONE_NEWUSER, MS_SHARED, O_PATH } from "../linux.ts";
import { fuseOptions } from "../storage/drivers.ts";
import { overlayOf } from "../storage/mount.ts";
import type { RootfsRecord } from "../storage/rootfs.ts";
import { utf8Text } from "../sys/call.ts";
import { O_RDONLY, O_RDWR } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, memfdCreate, open } from "../sys/file.ts";
import { findProgram, readFileSync } from "../sys/fs.ts";
import { waitUntil } from "../sys/wait.ts";
import { FIRST_FREE_FD as A, type PlainStep, startHelper } from "./helper-init.ts";
import { type ProgramRecord, programRecord } from "./program-record.ts";

const PROGRAM = "fuse-overlayfs";
const TIMEOUT_MS = 20_000;
const MAX_LOG = 16 * 1024;

/** @returns its path @throws TsrunError when it is not installed */
export function fuseProgram(): string {
  const path = findProgram(PROGRAM);
  if (path !== undefined) return path;
  throw new TsrunError(`${PROGRAM} is not installed`, { fix: `apt-get install ${PROGRAM}` });
}

/**
 * Returns when the file system is there for process `pid`, at the place that `overlay` names.
 *
 * @param onStarted it runs, and is to be remembered before anything else happens
 * @throws TsrunError with what the program said
 */
export function mountFuse(overlay: RootfsRecord, pid: number, onStarted: (record: ProgramRecord) => void): void {
  const { merged } = overlay;
  const about = `mount ${PROGRAM} ${merged}`;
  using log = new Fd(memfdCreate(PROGRAM));
  using nothing = new Fd(open("/dev/null", O_RDWR));
  const helper = startHelper(about, steps(pid, merged, fuseOptions(overlayOf(overlay))), {
    stdio: [nothing.fd, log.fd, log.fd],
  });
  const record = programRecord(PROGRAM, helper.pid);
  onStarted(record);
  let isOver = false;
  const mounted = waitUntil(() => {
    isOver = hasEnded(helper.pid);
    return isOver || hasFuse(pid, merged);
  }, TIMEOUT_MS);
  if (mounted && !isOver) return;
  const said = utf8Text(preadFull(log.fd, new Uint8Array(MAX_LOG), 0)).trim();
  throw new TsrunError(about, {
    cause: new TsrunError(said === "" ? "it does not become ready" : said.replaceAll(/\s*\n\s*/g, "; ")),
    fix: "may this user open /dev/fuse? tsrun doctor says what is missing",
  });
}

function steps(pid: number, merged: string, options: string): PlainStep[] {
  const [user, mounts, tree, place] = [A, A + 1, A + 2, A + 3] as const;
  return [
    ["open", user, `/proc/${pid}/ns/user`, O_RDONLY, 0],
    ["open", mounts, `/proc/${pid}/ns/mnt`, O_RDONLY, 0],
    ["setns", user, CLONE_NEWUSER],
    ["setns", mounts, CLONE_NEWNS],
    ["become", 0, 0, 0],
    // A shared mount of its own, which both namespaces will have.
    ["openTree", tree, AT_FDCWD, merged, 0],
    ["open", place, merged, O_PATH, 0],
    ["attach", tree, place],
    ["mountSetattr", AT_FDCWD, merged, 0, 0, 0, MS_SHARED, -1],
    ["unshare", CLONE_NEWNS],
    ["findExecutable", [fuseProgram()]],
    ["exec", [PROGRAM, "-f", "-o", options, merged], ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]],
  ];
}

function hasFuse(pid: number, merged: string): boolean {
  const lines = readFileSync(`/proc/${pid}/mountinfo`).split("\n");
  return lines.some((line) => line.split(" ")[4] === merged && line.includes(` - fuse.${PROGRAM} `));
}

/** A child that nobody has waited for stays as a zombie. */
function hasEnded(pid: number): boolean {
  return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`));
}
