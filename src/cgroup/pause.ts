/** Freezing a container, by the record of its cgroup. How each version freezes is in freezer.ts. */
import { TsrunError } from "../errors.ts";
import { type Freezer, freezeGroup, isSelfFrozen, thawGroup } from "./freezer.ts";
import { type CgroupRecord, freezerOf } from "./record.ts";

/** @throws TsrunError when there is no freezer, or it does not freeze within 2 s */
export function freeze(record: CgroupRecord): void {
  freezeGroup(freezerOrThrow(record));
}

export function thaw(record: CgroupRecord): void {
  thawGroup(freezerOrThrow(record));
}

export function isFrozen(record: CgroupRecord): boolean {
  const freezer = freezerOf(record);
  return freezer !== undefined && isSelfFrozen(freezer);
}

function freezerOrThrow(record: CgroupRecord): Freezer {
  const freezer = freezerOf(record);
  if (freezer === undefined) throw new TsrunError("cannot toggle freezer: the container has no cgroup that freezes");
  return freezer;
}
