/**
 * Handing controllers down the v2 hierarchy. Rules: kernel cgroup-v2.rst "Enabling and Disabling", "Top-down
 * Constraint", "No Internal Process Constraint", "Threads".
 */
import { isErrno, TsrunError } from "../../errors.ts";
import { readGroupFile } from "../files.ts";
import { writeFile } from "../write.ts";

/** These work in threaded cgroups as well. */
const THREADED = ["cpu", "cpuset", "perf_event", "pids"];
/** Not controllers, though files begin with their names. */
const CORE = ["cgroup"];

/**
 * Makes controllers available in the last of `dirs`, a path of cgroups from the top of the mount down: all that the top
 * has, as under runc. Limits can then be set later, and statistics are there.
 *
 * @param made those of them that are new
 * @param needed controllers with limits to set
 * @throws TsrunError when a needed one cannot be had, with the reason
 */
export function enableControllers(dirs: readonly string[], made: readonly string[], needed: readonly string[]): void {
  const leaf = dirs[dirs.length - 1] as string;
  const all = words(readGroupFile(`${dirs[0]}/cgroup.controllers`));
  const wanted = [...all, ...needed.filter((name) => !all.includes(name) && !CORE.includes(name))];
  let have = words(readGroupFile(`${leaf}/cgroup.controllers`));
  // The usual case; a threaded cgroup never has all.
  if (wanted.every((name) => have.includes(name))) return;
  settleType(made, needed);
  const reasons = new Map<string, string>();
  for (const [depth, dir] of dirs.slice(0, -1).entries()) {
    if (!becomesThreaded(dir)) {
      enableBelow(dir, wanted, reasons);
      continue;
    }
    for (const name of wanted) reasons.set(name, hasProcesses(dir));
    // Only for who asks for nothing else, and where all below is new: nobody else's cgroup may become invalid.
    if (!needed.every(isThreaded) || !made.includes(dirs[depth + 1] as string)) continue;
    enableBelow(dir, needed, reasons);
    settleType(made, needed);
  }
  have = words(readGroupFile(`${leaf}/cgroup.controllers`));
  // Those first that are the reason why others cannot be had either.
  for (const name of needed.toSorted((a, b) => Number(isThreaded(a)) - Number(isThreaded(b)))) {
    if (have.includes(name) || CORE.includes(name)) continue;
    throw new TsrunError(`cannot set ${name} limit: controller ${name} is not available in cgroup ${leaf}`, {
      fix: reasons.get(name) ?? "the kernel has it switched off, or it belongs to a cgroup v1 hierarchy",
    });
  }
}

function enableBelow(dir: string, wanted: readonly string[], reasons: Map<string, string>): void {
  const available = words(readGroupFile(`${dir}/cgroup.controllers`));
  const enabled = words(readGroupFile(`${dir}/cgroup.subtree_control`));
  const missing = wanted.filter((name) => available.includes(name) && !enabled.includes(name));
  for (const name of wanted) {
    if (!available.includes(name) && !reasons.has(name)) reasons.set(name, `${dir} does not have it`);
  }
  if (missing.length === 0) return;
  const file = `${dir}/cgroup.subtree_control`;
  try {
    writeFile(file, missing.map((name) => `+${name}`).join(" "));
  } catch {
    // One that is refused refuses all: one by one, and those that cannot be had are told about when they are needed.
    for (const name of missing) {
      try {
        writeFile(file, `+${name}`);
      } catch (error) {
        reasons.set(name, reasonOf(error, dir));
      }
    }
  }
}

function reasonOf(error: unknown, dir: string): string {
  if (isErrno(error, "EBUSY")) return hasProcesses(dir);
  if (isErrno(error, "EOPNOTSUPP")) return `${dir} is in threaded mode, which this controller does not support`;
  if (isErrno(error, "EACCES", "EPERM", "EROFS")) return `${dir} is not delegated to this user`;
  return `${dir}: ${error instanceof Error ? error.message : String(error)}`;
}

function hasProcesses(dir: string): string {
  return `${dir} has processes of its own: a cgroup with processes cannot hand controllers down`;
}

/**
 * Would it change its type with the next controller that it hands down? One that works for threads is not refused to a
 * cgroup with processes, as others are: the cgroup becomes the root of a threaded subtree, and everything below invalid.
 */
function becomesThreaded(dir: string): boolean {
  return readGroupFile(`${dir}/cgroup.type`) === "domain" && readGroupFile(`${dir}/cgroup.procs`) !== "";
}

function isThreaded(controller: string): boolean {
  return THREADED.includes(controller) || CORE.includes(controller);
}

/**
 * A cgroup below a threaded one cannot be joined until it is threaded too, and then it has no memory or io controller.
 *
 * @param made the new cgroups, top first
 * @throws TsrunError when a limit is asked that needs more
 */
function settleType(made: readonly string[], needed: readonly string[]): void {
  const leaf = made[made.length - 1];
  if (leaf === undefined || readGroupFile(`${leaf}/cgroup.type`) !== "domain invalid") return;
  const domain = needed.filter((name) => !isThreaded(name));
  if (domain.length > 0) {
    throw new TsrunError(
      `cannot set ${domain.join(", ")} limit: cgroup ${leaf} is "domain invalid", as the one above it is threaded`,
      { fix: "choose a cgroupsPath that is not below a threaded cgroup" },
    );
  }
  for (const dir of made) writeFile(`${dir}/cgroup.type`, "threaded");
}

function words(text: string | undefined): string[] {
  return text ? text.split(" ") : [];
}
