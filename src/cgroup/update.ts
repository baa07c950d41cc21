/**
 * New limits for the cgroup of a container that exists. Only what is asked for is written, and device rules never: what
 * an engine sends here it says in full, and its rules would take devices away that were added since (GPUs, for one).
 */
import { TsrunError } from "../errors.ts";
import type { LinuxCPU, LinuxMemory, LinuxResources } from "../spec/types.ts";
import { applyChecked } from "./check-usage.ts";
import { readGroupFile } from "./files.ts";
import { detectCgroups } from "./hierarchies.ts";
import type { Journal } from "./journal.ts";
import { directories } from "./make.ts";
import type { CgroupRecord } from "./record.ts";
import { resourceWarnings, resourceWrites } from "./resources.ts";
import { updateScope } from "./systemd/scope.ts";
import { enableControllers } from "./v2/controllers.ts";
import { applyWrites } from "./write.ts";

/**
 * @param before the limits that the container has had so far; a value that goes with another one is taken from there
 * @param journal is told of each change, for the caller to take back when something is refused
 * @throws TsrunError when the cgroup has no such controller, SyscallError when the kernel refuses a value
 */
export function updateCgroup(
  record: CgroupRecord,
  asked: LinuxResources,
  before: LinuxResources,
  warn: (message: string) => void,
  journal?: Journal,
): void {
  const version = record.layout === "v2" ? 2 : 1;
  const wanted = version === 2 ? withPartners(record.paths[""], asked, before) : asked;
  for (const warning of resourceWarnings(wanted, version)) warn(warning);
  const list = resourceWrites(wanted, version);
  const unified = record.paths[""];
  if (version === 2 && unified !== undefined && list.length > 0) {
    const needed = list.map(({ controller }) => controller);
    enableControllers(directories(detectCgroups().unified?.mount ?? unified, unified), record.made, needed);
  }
  for (const { controller, writes } of list) {
    const dir = version === 2 ? unified : record.paths[controller];
    if (dir === undefined) {
      throw new TsrunError(`cannot set ${controller} limit: the container has no cgroup with controller ${controller}`);
    }
    applyChecked(dir, controller, writes, withCheck(wanted, before), journal);
  }
  if (record.systemd === undefined || list.length === 0) return;
  updateScope(record.systemd, version === 2 ? list : resourceWrites(withQuota(wanted, before), 1), version, journal);
  // Systemd has written the files as well, and rounds.
  for (const { controller, writes } of list) {
    applyWrites((version === 2 ? unified : record.paths[controller]) as string, controller, writes, journal);
  }
}

/** What the container was made with says whether its usage is looked at first, until an update says otherwise. */
function withCheck(asked: LinuxResources, { memory }: LinuxResources): LinuxResources {
  if (memory?.checkBeforeUpdate === undefined) return asked;
  return { ...asked, memory: { checkBeforeUpdate: memory.checkBeforeUpdate, ...asked.memory } };
}

/** Systemd's quota is one of a second, so that it takes the period to tell. */
function withQuota(asked: LinuxResources, { cpu: { quota, period } = {} }: LinuxResources): LinuxResources {
  if (!asked.cpu?.quota === !asked.cpu?.period) return asked;
  return { ...asked, cpu: { ...(quota && { quota }), ...(period && { period }), ...asked.cpu } };
}

/** cgroup v2 has one file for quota and period, and counts swap without the memory that OCI adds to it. */
function withPartners(dir: string | undefined, asked: LinuxResources, before: LinuxResources): LinuxResources {
  const wanted = { ...asked };
  if (asked.cpu !== undefined) wanted.cpu = withPeriod(dir, asked.cpu, before.cpu ?? {});
  if (asked.memory !== undefined) wanted.memory = withLimit(dir, asked.memory, before.memory ?? {});
  return wanted;
}

function withPeriod(dir: string | undefined, asked: LinuxCPU, before: LinuxCPU): LinuxCPU {
  if (!asked.quota === !asked.period) return asked;
  const [quota = "max", period = "100000"] = (readGroupFile(`${dir}/cpu.max`) ?? "").split(" ");
  if (asked.quota) return { ...asked, period: Number(period) || (before.period ?? 0) };
  return quota === "max" ? asked : { ...asked, quota: Number(quota) };
}

function withLimit(dir: string | undefined, asked: LinuxMemory, before: LinuxMemory): LinuxMemory {
  if (!asked.swap || asked.limit || asked.swap === -1) return asked;
  const current = readGroupFile(`${dir}/memory.max`) ?? String(before.limit ?? 0);
  return { ...asked, limit: current === "max" ? -1 : Number(current) };
}

/** Limits as they are after an update: what was asked for in the place of what was. */
export function mergeResources(before: LinuxResources, asked: LinuxResources): LinuxResources {
  const merged: LinuxResources = { ...before };
  for (const [name, value] of Object.entries(asked)) {
    const key = name as keyof LinuxResources;
    const old = before[key];
    const isSection = typeof value === "object" && !Array.isArray(value) && value !== null;
    Object.assign(merged, { [key]: isSection && old !== undefined ? { ...old, ...value } : value });
  }
  return merged;
}
