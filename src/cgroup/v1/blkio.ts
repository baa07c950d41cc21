/**
 * `linux.resources.blockIO` as writes to the v1 blkio controller. Touches no file.
 * Rules: OCI config-linux.md "Block IO"; kernel cgroup-v1/blkio-controller.rst, block/bfq-iosched.rst.
 */
import type { LinuxBlockIO, LinuxThrottleDevice } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

export function blkioWrites(io: LinuxBlockIO): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  if (io.weight) writes.push(weightWrite("weight", decimal(io.weight)));
  // leaf_weight belonged to CFQ, which Linux 5.0 dropped; BFQ has none.
  if (io.leafWeight) writes.push({ file: "blkio.leaf_weight", value: decimal(io.leafWeight) });
  for (const { major, minor, weight, leafWeight } of io.weightDevice ?? []) {
    if (weight) writes.push(weightWrite("weight_device", `${major}:${minor} ${decimal(weight)}`));
    if (leafWeight) {
      writes.push({ file: "blkio.leaf_weight_device", value: `${major}:${minor} ${decimal(leafWeight)}` });
    }
  }
  throttle(writes, "blkio.throttle.read_bps_device", io.throttleReadBpsDevice);
  throttle(writes, "blkio.throttle.write_bps_device", io.throttleWriteBpsDevice);
  throttle(writes, "blkio.throttle.read_iops_device", io.throttleReadIOPSDevice);
  throttle(writes, "blkio.throttle.write_iops_device", io.throttleWriteIOPSDevice);
  return writes;
}

/** CFQ's file where the kernel still has it, else that of BFQ, whose device weights have one more spelling. */
function weightWrite(name: "weight" | "weight_device", value: string): CgroupWrite {
  return { file: `blkio.${name}`, value, otherwise: { file: `blkio.bfq.${name}`, value } };
}

function throttle(writes: CgroupWrite[], file: string, devices: LinuxThrottleDevice[] = []): void {
  for (const { major, minor, rate } of devices) writes.push({ file, value: `${major}:${minor} ${decimal(rate)}` });
}
