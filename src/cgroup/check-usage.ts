/** Limits that are looked at before they are written. Rules: OCI config-linux.md "Memory", checkBeforeUpdate. */
import { TsrunError } from "../errors.ts";
import type { LinuxResources } from "../spec/types.ts";
import { readGroupFile } from "./files.ts";
import type { Journal } from "./journal.ts";
import { applyWrites, type CgroupWrite } from "./write.ts";

/** As applyWrites; before a memory limit the usage is looked at, when that was asked. */
export function applyChecked(
  dir: string,
  controller: string,
  writes: CgroupWrite[],
  resources: LinuxResources,
  journal?: Journal,
): void {
  if (controller === "memory" && resources.memory?.checkBeforeUpdate) checkUsage(dir, resources);
  applyWrites(dir, controller, writes, journal);
}

/** OCI checkBeforeUpdate: a limit below what is used already is refused rather than followed by the OOM killer. */
function checkUsage(dir: string, { memory }: LinuxResources): void {
  const usage = Number(readGroupFile(`${dir}/memory.current`) ?? readGroupFile(`${dir}/memory.usage_in_bytes`) ?? 0);
  for (const [name, limit = 0] of [
    ["limit", memory?.limit],
    ["swap", memory?.swap],
  ] as const) {
    if (limit > 0 && limit <= usage) {
      throw new TsrunError(
        `cannot set memory limit: linux.resources.memory.${name} ${limit} is below the usage, ${usage}`,
      );
    }
  }
}
