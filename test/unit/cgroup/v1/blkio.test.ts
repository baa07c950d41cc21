import { describe, expect, test } from "vitest";
import { blkioWrites } from "../../../../src/cgroup/v1/blkio.ts";

describe("cgroup/v1/blkio", () => {
  test("weights go to CFQ's files where they are, else to those of BFQ", () => {
    expect(blkioWrites({ weight: 500, weightDevice: [{ major: 8, minor: 0, weight: 300 }] })).toEqual([
      { file: "blkio.weight", value: "500", otherwise: { file: "blkio.bfq.weight", value: "500" } },
      {
        file: "blkio.weight_device",
        value: "8:0 300",
        otherwise: { file: "blkio.bfq.weight_device", value: "8:0 300" },
      },
    ]);
  });

  test("leaf weights have no substitute", () => {
    expect(blkioWrites({ leafWeight: 10, weightDevice: [{ major: 8, minor: 1, leafWeight: 20 }] })).toEqual([
      { file: "blkio.leaf_weight", value: "10" },
      { file: "blkio.leaf_weight_device", value: "8:1 20" },
    ]);
  });

  test("each throttle has its file", () => {
    const device = (rate: number) => [{ major: 8, minor: 16, rate }];
    const io = {
      throttleReadBpsDevice: device(1),
      throttleWriteBpsDevice: device(2),
      throttleReadIOPSDevice: device(3),
      throttleWriteIOPSDevice: device(4),
    };
    expect(blkioWrites(io)).toEqual([
      { file: "blkio.throttle.read_bps_device", value: "8:16 1" },
      { file: "blkio.throttle.write_bps_device", value: "8:16 2" },
      { file: "blkio.throttle.read_iops_device", value: "8:16 3" },
      { file: "blkio.throttle.write_iops_device", value: "8:16 4" },
    ]);
  });

  test("a weight of 0 is not set", () => {
    expect(blkioWrites({ weight: 0, leafWeight: 0 })).toEqual([]);
  });
});
