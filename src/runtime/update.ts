/** `update`: other limits for a container that runs. Rules: runc-update(8); OCI config-linux.md "Control groups". */

import { Journal } from "../cgroup/journal.ts";
import { cgroupProcesses } from "../cgroup/manager.ts";
import { mergeResources, updateCgroup } from "../cgroup/update.ts";
import { SpecError, StateError } from "../errors.ts";
import { warn } from "../log.ts";
import { loadObject, specText } from "../spec/load.ts";
import type { LinuxIntelRdt, LinuxResources } from "../spec/types.ts";
import { inspectResources, validateRdt } from "../spec/validate.ts";
import { createRdt, joinAllRdt, planRdt, readSchemata, removeRdt, updateRdt } from "./intel-rdt.ts";
import { statusOf } from "./lifecycle.ts";
import { stateRoot } from "./paths.ts";
import { readConfig, StateDirectory, type StateRecord } from "./state.ts";

/**
 * Changes the limits that `resources` names and no others: a member that is 0 or "" where that means "not set" leaves
 * things as they are, which engines rely on, and device rules are left alone. Kept for later updates and execs.
 * All of it or nothing: when one is refused, those before it are set back, as far as the kernel lets them.
 *
 * @param resources `linux.resources` of config.json, in part
 * @param rdt `linux.intelRdt`, in part
 * @throws SpecError for wrong values; StateError when it has stopped or has no cgroup; SyscallError when the kernel
 * refuses one
 */
export function updateContainer(
  root: string | undefined,
  id: string,
  resources: LinuxResources,
  rdt: LinuxIntelRdt = {},
): void {
  const inspected = inspectResources(resources);
  const problems = [...inspected.problems, ...validateRdt(rdt)];
  if (problems.length > 0) throw new SpecError(problems, { of: "the update" });
  const asked = withoutUnset(inspected.resources);
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = state.read();
  const status = statusOf(record);
  if (status === "stopped" || status === "creating")
    throw new StateError(`container not running: cannot update a container that is ${status}`);
  const config = readConfig(state);
  const linux = { ...config.linux };
  const hasRdt = Object.keys(rdt).length > 0;
  const journal = new Journal();
  try {
    if (Object.keys(asked).length > 0 || !hasRdt) {
      const before = linux.resources ?? {};
      updateCgroup(cgroupOf(record), asked, before, warn, journal);
      linux.resources = mergeResources(before, asked);
    }
    if (hasRdt) linux.intelRdt = changeRdt(state, record, { ...linux.intelRdt, ...rdt }, journal);
    state.replaceConfig(specText({ ...config, linux }));
  } catch (error) {
    throw journal.setBack(error);
  }
}

function cgroupOf({ cgroup }: StateRecord): NonNullable<StateRecord["cgroup"]> {
  if (cgroup !== undefined) return cgroup;
  throw new StateError("the container has no cgroup, so it has no limits to change", {
    fix: "delegate a cgroup to this user, or set linux.cgroupsPath",
  });
}

/** A container that was in no group of its own gets one, and all its processes with it. @returns what holds from now on */
function changeRdt(state: StateDirectory, record: StateRecord, rdt: LinuxIntelRdt, journal: Journal): LinuxIntelRdt {
  const { intelRdt } = record;
  if (intelRdt !== undefined) {
    const former = intelRdt.isOurs ? readSchemata(intelRdt) : [];
    const setBack = () => updateRdt(intelRdt, { schemata: former });
    // Before the write: of several lines some may have been taken.
    if (intelRdt.isOurs) journal.add({ name: `${intelRdt.group}/schemata`, setBack });
    updateRdt(intelRdt, rdt);
    return rdt;
  }
  const made = planRdt(record.id, rdt);
  if (made === undefined) return rdt;
  journal.add({
    name: made.group,
    setBack: () => {
      removeRdt(made);
      state.write(record);
    },
  });
  // Named before it is made: delete finds it.
  state.write({ ...record, intelRdt: made });
  createRdt(made, rdt);
  joinAllRdt(made, record.cgroup ? cgroupProcesses(record.cgroup) : [record.pid]);
  return rdt;
}

/** Reads resources as engines hand them over. @param file a path, or "-" for standard input @throws SpecError */
export function readResources(file: string): LinuxResources {
  return loadObject(file) as LinuxResources;
}

/** Device rules are not for update; empty texts are "not set". A limit of 0 processes is a limit (runc since 1.4). */
function withoutUnset(resources: LinuxResources): LinuxResources {
  const { devices: _, ...asked } = resources;
  if (asked.cpu !== undefined) {
    const { cpus, mems, ...cpu } = asked.cpu;
    asked.cpu = { ...cpu, ...(cpus && { cpus }), ...(mems && { mems }) };
  }
  return asked;
}
