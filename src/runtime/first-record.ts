/** What the state says of a container before anything of it is made. */
import { setupIds } from "../plan/namespaces.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { hookStages } from "./hooks.ts";
import { mayUseSetgroups } from "./idmap.ts";
import { idMapsOf } from "./inside.ts";
import type { Loaded } from "./prepare.ts";
import { newRecord, type StateRecord } from "./state.ts";

export function firstRecord(container: ContainerSpec, loaded: Loaded): StateRecord {
  const hooks = container.spec.hooks === undefined ? [] : hookStages(container.spec.hooks);
  return newRecord({
    ociVersion: container.spec.ociVersion,
    id: container.id,
    bundle: container.bundle,
    rootfs: container.rootfs.path,
    created: timestamp(),
    owner: loaded.container.host.euid,
    annotations: container.spec.annotations ?? {},
    phase: "creating",
    pid: 0,
    startTime: 0,
    cgroup: undefined,
    overlay: undefined,
    namespaces: namespaceBits(container),
    ownPidNamespace: (container.namespaces.create & 0x20000000) !== 0,
    userns: container.userns,
    setgroups: mayUseSetgroups(container),
    setupIds: setupIds(container),
    ...(container.rootfs.layers && idMapsOf(container)),
    noNewKeyring: container.options.noNewKeyring ?? false,
    lateSteps: [],
    ...(hooks.length > 0 && { hooks }),
    ...(container.options.storageRoot !== undefined && { storageRoot: container.options.storageRoot }),
  });
}

function namespaceBits({ namespaces: { create, join } }: ContainerSpec): number {
  let bits = create;
  for (const { flag } of join) bits |= flag;
  return bits;
}

/** Now, as RFC 3339 with nine digits of a second. The finer of the two clocks does not notice when the time is set. */
export function timestamp(coarseMs = Date.now(), fineMs = performance.timeOrigin + performance.now()): string {
  const ms = Math.abs(fineMs - coarseMs) < 10 ? fineMs : coarseMs;
  const second = Math.floor(ms / 1000) * 1000;
  const nanoseconds = Math.floor((ms - second) * 1e6);
  return `${new Date(second).toISOString().slice(0, 19)}.${String(nanoseconds).padStart(9, "0")}Z`;
}
