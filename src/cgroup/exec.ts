/** Which cgroups a further process of a container joins: `exec`, with or without `--cgroup`. */
import { TsrunError } from "../errors.ts";
import { statSync } from "../sys/fs.ts";
import { readGroupFile } from "./files.ts";
import { isFrozenAnyhow } from "./freezer.ts";
import type { CgroupHierarchies } from "./hierarchies.ts";
import { processCgroups } from "./join.ts";
import { pathNames } from "./path.ts";
import { type CgroupRecord, freezerAt } from "./record.ts";

/**
 * The container's cgroups by controller, as joinFds takes them.
 *
 * On v2, when it hands controllers down, that is where the container's init is now: such a cgroup takes no processes,
 * and an init system moves itself away from there first.
 *
 * @param requested `--cgroup`: a path below the container's cgroup or, on v1, `controller[,controller]:path`
 * @throws TsrunError for a path that is not there, or a controller that the container has no cgroup of
 */
export function execCgroups(
  record: CgroupRecord,
  initPid: number,
  hierarchies: CgroupHierarchies,
  requested: readonly string[] = [],
): Record<string, string> {
  const paths = { ...record.paths };
  const top = paths[""];
  if (requested.length === 0 && record.layout === "v2" && top !== undefined) {
    const now = processCgroups(initPid, hierarchies)?.[""];
    const isBelow = now?.startsWith(`${top}/`);
    if (isBelow && now !== undefined && readGroupFile(`${top}/cgroup.subtree_control`)) paths[""] = now;
  }
  for (const request of requested) {
    const { controllers, path } = parseRequest(request, record);
    for (const controller of controllers) {
      const whole = record.paths[controller] ?? record.paths[`name=${controller}`];
      if (whole === undefined)
        throw new TsrunError(
          `--cgroup ${request}: unknown controller ${controller}: the container has no cgroup of it`,
        );
      const dir = below(whole, path);
      if (record.layout === "v2") refuseBusy(request, dir);
      // Controllers that share a hierarchy share its cgroup.
      for (const name of Object.keys(paths)) if (record.paths[name] === whole) paths[name] = dir;
    }
  }
  return paths;
}

/** Would a process that is in these cgroups, of execCgroups, stand still? */
export function areFrozen(paths: Record<string, string>): boolean {
  const freezer = freezerAt(paths);
  return freezer !== undefined && isFrozenAnyhow(freezer);
}

/** These work in threaded cgroups too, so the kernel has the last word on them. */
const THREADED = ["cpu", "cpuset", "perf_event", "pids"];

/** cgroup-v2.rst "No Internal Process Constraint": what hands controllers down takes no processes. */
function refuseBusy(request: string, dir: string): void {
  const handed = readGroupFile(`${dir}/cgroup.subtree_control`)?.split(" ") ?? [];
  if (!handed.some((name) => name !== "" && !THREADED.includes(name))) return;
  throw new TsrunError(`--cgroup ${request}: adding pid 0 to cgroups ${dir}/cgroup.procs: device or resource busy`, {
    fix: `it hands ${handed.join(" ")} down, so that its processes are in cgroups below: name one of those`,
  });
}

function parseRequest(request: string, { layout, paths }: CgroupRecord): { controllers: string[]; path: string } {
  const colon = request.indexOf(":");
  if (colon < 0) return { controllers: Object.keys(paths), path: request };
  if (layout === "v2") throw new TsrunError(`--cgroup ${request}: cgroup v2 has one hierarchy, so give the path alone`);
  return { controllers: request.slice(0, colon).split(","), path: request.slice(colon + 1) };
}

function below(whole: string, path: string): string {
  if (path.split("/").includes("..")) throw new TsrunError(`--cgroup: ${path} is not a sub cgroup path`);
  const dir = [whole, ...pathNames(path, "--cgroup")].join("/");
  if (statSync(dir)?.isDirectory()) return dir;
  // Not in the usual words for ENOENT: engines take those for a missing command.
  throw new TsrunError(`--cgroup ${path}: adding pid 0 to ${dir}/cgroup.procs: no such file there`);
}
