/**
 * The mappings of a user namespace that is joined, where config.json does not have a copy of them: the ids of layers,
 * cgroups and sources of mounts are to be known on the host's side. Rules: user_namespaces(7).
 */
import { SpecError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { CLONE_NEWUSER } from "../linux.ts";
import { PlanBuilder } from "../plan/builder.ts";
import { AWAIT } from "../plan/step.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { unmappedIds } from "../spec/rules/mappings.ts";
import type { LinuxIDMapping } from "../spec/types.ts";
import { O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, open } from "../sys/file.ts";
import { readFileSync } from "../sys/fs.ts";
import { waitid } from "../sys/process.ts";
import { stepFailure } from "./failure.ts";

interface Mappings {
  uidMappings: LinuxIDMapping[];
  gidMappings: LinuxIDMapping[];
}

/**
 * Fills them in. Who is not root of the machine does without: what they are needed for he may not do.
 *
 * @throws SpecError when the process is to have an id that the namespace lacks
 */
export function addJoinedMappings(container: ContainerSpec): void {
  const join = container.namespaces.join.find(({ flag }) => flag === CLONE_NEWUSER);
  if (join === undefined || container.uidMappings.length > 0 || container.gidMappings.length > 0) return;
  if (!container.host.privileged || process.geteuid?.() !== 0) return;
  const mappings = readMappings(join.path);
  // That one cannot be joined is told when it is.
  if (mappings === undefined) return;
  const problems = unmappedIds(container.spec.process.user, mappings);
  if (problems.length > 0) throw new SpecError(problems, { fix: `they are those of ${join.path}` });
  Object.assign(container, mappings);
  container.spec.linux = { ...container.spec.linux, ...mappings };
}

/** @returns undefined when there is no such namespace, or it is our own */
function readMappings(path: string): Mappings | undefined {
  const pid = /^\/proc\/(\d+)\/ns\/user$/.exec(path)?.[1];
  try {
    return pid === undefined ? readInside(path) : mappingsOf(Number(pid));
  } catch {
    return undefined;
  }
}

/** By a process that joins it. */
function readInside(path: string): Mappings | undefined {
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  const namespace = b.inherit("namespace");
  b.add("linux.namespaces user", "setns", namespace, CLONE_NEWUSER);
  b.add("linux.namespaces user", "await", AWAIT.ID_MAPS);
  const plan = b.plan();
  const fd = open(path, O_RDONLY | O_CLOEXEC);
  try {
    const { pid, sync } = spawnInit({ plan, fds: new Map([["namespace", fd]]), preserved: 0 });
    try {
      const message = sync.next();
      if (message.type === "fail") throw stepFailure(plan, message.step, message.code);
      return message.type === "await" ? mappingsOf(pid) : undefined;
    } finally {
      // Without its socket it ends.
      sync[Symbol.dispose]();
      waitid({ pid });
    }
  } finally {
    closeQuiet(fd);
  }
}

function mappingsOf(pid: number): Mappings {
  const read = (file: string) => parseMap(readFileSync(`/proc/${pid}/${file}`));
  return { uidMappings: read("uid_map"), gidMappings: read("gid_map") };
}

/** The three columns of uid_map and gid_map, as the host sees them. */
export function parseMap(text: string): LinuxIDMapping[] {
  const mappings: LinuxIDMapping[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(line);
    if (match === null) continue;
    mappings.push({ containerID: Number(match[1]), hostID: Number(match[2]), size: Number(match[3]) });
  }
  return mappings;
}
