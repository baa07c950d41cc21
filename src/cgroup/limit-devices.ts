/** The devices that a container may make and open, in a cgroup that was just made. Rules: OCI config-linux.md "Devices". */
import { isErrno, TsrunError } from "../errors.ts";
import { mkdirSync } from "../sys/fs.ts";
import { attachDeviceFilter, attachedFilters, detachFilters } from "./device-attach.ts";
import { defaultDeviceFilter, deviceFilter } from "./device-filter.ts";
import { allowsEverything, type DeviceRule, deviceRules, isDefaultRules } from "./device-rules.ts";
import type { CgroupRecord, CgroupRequest } from "./record.ts";
import { isList } from "./systemd/devices.ts";
import { DEFAULT_DEVICE_WRITES, deviceWrites } from "./v1/devices.ts";
import { applyWrites, type CgroupWrite } from "./write.ts";

/** Device rules: v1 by its devices controller, v2 (or a hybrid layout without that one) by an eBPF program. */
export function limitDevices(request: CgroupRequest, record: CgroupRecord): void {
  const dir = record.paths.devices;
  const unified = record.paths[""];
  try {
    if (dir !== undefined) {
      applyWrites(dir, "devices", deviceWritesOf(request));
      if (record.systemd !== undefined && !hasDefaultRules(request)) keepDeviceRules(dir, deviceRulesOf(request));
    } else if (unified !== undefined)
      limitByFilter(request, unified, record.systemd !== undefined || record.made.includes(unified));
    else if (record.layout !== "none" && !request.rootless && !allowsEverything(deviceRulesOf(request))) {
      throw new TsrunError("cannot limit devices: no cgroup with a devices controller");
    }
  } catch (error) {
    // Without root's rights neither version lets us limit devices, and a process of ours can make no node to open.
    if (request.rootless && isErrno(error, "EPERM", "EACCES", "EROFS")) return;
    throw error;
  }
}

/**
 * A systemd that has taken the devices of a unit upon itself begins with all or none of them whenever it writes the unit's
 * files, and goes on with what it knows of the rules. The kernel lets nobody begin so in a cgroup that has one below it:
 * rules that are there stay. A systemd that leaves the devices alone may remove that one again, and does no harm either.
 *
 * @see kernel security/device_cgroup.c, devcgroup_update_access
 */
function keepDeviceRules(dir: string, rules: readonly DeviceRule[]): void {
  if (!isList(rules)) mkdirSync(`${dir}/kept`, { recursive: true });
}

function limitByFilter(request: CgroupRequest, dir: string, isNew: boolean): void {
  // What an earlier container left on a cgroup would limit this one too.
  const earlier = isNew ? [] : attachedFilters(dir);
  if (hasDefaultRules(request)) attachDeviceFilter(dir, defaultDeviceFilter());
  else {
    const rules = deviceRulesOf(request);
    if (!allowsEverything(rules)) attachDeviceFilter(dir, deviceFilter(rules));
  }
  detachFilters(dir, earlier);
}

function deviceWritesOf(request: CgroupRequest): readonly CgroupWrite[] {
  return hasDefaultRules(request) ? DEFAULT_DEVICE_WRITES : deviceWrites(deviceRulesOf(request));
}

function hasDefaultRules({ resources, devices }: CgroupRequest): boolean {
  return isDefaultRules(resources?.devices, devices);
}

export function deviceRulesOf({ resources, devices }: CgroupRequest): DeviceRule[] {
  return deviceRules(resources?.devices, devices);
}
