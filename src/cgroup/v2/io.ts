/**
 * `linux.resources.blockIO` as writes to the v2 io controller. Touches no file.
 * Rules: OCI config-linux.md "Block IO"; kernel cgroup-v2.rst "IO Interface Files", block/bfq-iosched.rst.
 */
import { SpecError } from "../../errors.ts";
import type { LinuxBlockIO, LinuxThrottleDevice } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/** @throws SpecError for leaf weights, which cgroup v2 does not have */
export function ioWrites(io: LinuxBlockIO): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (io.leafWeight) throw noLeafWeight("leafWeight");
  if (io.weight) writes.push(weightWrite("", io.weight));
  (io.weightDevice ?? []).forEach(({ major, minor, weight, leafWeight }, i) => {
    if (leafWeight) throw noLeafWeight(`weightDevice[${i}].leafWeight`);
    if (weight) writes.push(weightWrite(`${major}:${minor} `, weight));
  });
  throttle(writes, "rbps", io.throttleReadBpsDevice);
  throttle(writes, "wbps", io.throttleWriteBpsDevice);
  throttle(writes, "riops", io.throttleReadIOPSDevice);
  throttle(writes, "wiops", io.throttleWriteIOPSDevice);
  return writes;
}

/** The range of BFQ is that of the spec; io.weight (io.cost) has its own. */
function weightWrite(device: string, weight: number): CgroupWrite {
  const otherwise = { file: "io.weight", value: `${device}${ioWeight(weight)}` };
  return { file: "io.bfq.weight", value: `${device}${weight}`, otherwise };
}

/** A weight of 10 to 1000 on the scale of 1 to 10000, as runc and crun do. */
function ioWeight(weight: number): number {
  return Math.min(Math.max(1 + Math.floor(((weight - 10) * 9999) / 990), 1), 10000);
}

/** One key a write: the kernel keeps the others of the device. A rate of 0 lifts the limit, as on v1. */
function throttle(writes: CgroupWrite[], key: string, devices: LinuxThrottleDevice[] = []): void {
  for (const { major, minor, rate } of devices) {
    writes.push({ file: "io.max", value: `${major}:${minor} ${key}=${rate === 0 ? "max" : decimal(rate)}` });
  }
}

function noLeafWeight(name: string): SpecError {
  return new SpecError([{ path: `linux.resources.blockIO.${name}`, message: "cgroup v2 has no leaf weights" }]);
}
