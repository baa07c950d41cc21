/**
 * This program once more, as root of a user namespace with all ids of the caller: what deals with files of several owners
 * can keep the owners there, and may look at or remove what belongs to them. Rules: user_namespaces(7), newuidmap(1).
 */
import { StepError, TsrunError } from "../errors.ts";
import { subordinateIds } from "../host.ts";
import { CLONE_NEWNS } from "../linux.ts";
import { warn } from "../log.ts";
import { defaultSpec, type Rootless } from "../spec/defaults.ts";
import { readFileSync, readlinkSync } from "../sys/fs.ts";
import { inUserNamespace } from "./helper-init.ts";
import { mapIds } from "./idmap.ts";

const SIGKILL = 9;

/** What the process of runWithOwnIds is told: there its caller is root. */
const TOLD = "TSRUN_CALLER_IDS";

/** The caller's own ids and his ranges; undefined for root, who needs none. */
export function callerIds(): Rootless | undefined {
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0) return toldIds();
  const { uids, gids, hasPrograms } = subordinateIds(uid);
  const ranges = hasPrograms && uids.length > 0 && gids.length > 0 ? { uids, gids } : undefined;
  return { uid, gid: process.getegid?.() ?? 0, ranges };
}

function toldIds(): Rootless | undefined {
  const told = process.env[TOLD];
  return told === undefined ? undefined : (JSON.parse(told) as Rootless);
}

/**
 * Runs this command line to its end as root of such a namespace. For a program that is tsrun.
 *
 * @returns its exit code; undefined where the caller is root, has no ranges, or they cannot be mapped: then it is to be
 *   done as it is
 */
export function runWithOwnIds(): number | undefined {
  if (process.geteuid?.() === 0) return undefined;
  const ids = callerIds();
  // Where states are is asked of this by who is root of a user namespace (cli/globals.ts), and so is the store.
  if (ids?.ranges === undefined || !process.env.XDG_RUNTIME_DIR) return undefined;
  const { uidMappings = [], gidMappings = [] } = defaultSpec({ rootless: ids }).linux ?? {};
  const host = { privileged: false, euid: ids.uid, egid: ids.gid };
  let isMapped = false;
  try {
    return inUserNamespace(
      "ids of the caller",
      (b) => {
        b.add("ids of the caller", "become", 0, 0, 1);
        // For views of several layers, which are mounted.
        b.add("ids of the caller", "unshare", CLONE_NEWNS);
        b.add("ids of the caller", "parentDeathSignal", SIGKILL);
        b.add("ids of the caller", "findExecutable", [readlinkSync("/proc/self/exe")]);
        b.add("ids of the caller", "exec", ownArguments(), environment(ids));
      },
      (pid) => {
        mapIds(pid, { uidMappings, gidMappings, host });
        isMapped = true;
      },
    ).exitCode;
  } catch (error) {
    if (isMapped || !(error instanceof TsrunError) || error instanceof StepError) throw error;
    warn(`${error.message}: owners other than the caller cannot be kept`);
    return undefined;
  }
}

function ownArguments(): string[] {
  return readFileSync("/proc/self/cmdline").split("\0").slice(0, -1);
}

/** Who is called root by his environment has root's directories, also in a user namespace. */
function environment(ids: Rootless): string[] {
  const { USER: user, [TOLD]: _, ...others } = process.env;
  const name = user === undefined || user === "root" ? String(ids.uid) : user;
  return [
    `USER=${name}`,
    `${TOLD}=${JSON.stringify(ids)}`,
    ...Object.entries(others).map(([key, value]) => `${key}=${value ?? ""}`),
  ];
}
