import { describe, expect, test } from "vitest";
import { ioWrites } from "../../../../src/cgroup/v2/io.ts";

describe("cgroup/v2/io", () => {
  test("a weight goes to BFQ as it is, else to io.weight on its scale", () => {
    const write = (weight: number) => ioWrites({ weight })[0];
    expect(write(500)).toEqual({
      file: "io.bfq.weight",
      value: "500",
      otherwise: { file: "io.weight", value: "4950" },
    });
    expect([10, 100, 1000].map((weight) => write(weight)?.otherwise?.value)).toEqual(["1", "910", "10000"]);
  });

  test("a device's weight has its number in front", () => {
    expect(ioWrites({ weightDevice: [{ major: 8, minor: 0, weight: 10 }] })).toEqual([
      { file: "io.bfq.weight", value: "8:0 10", otherwise: { file: "io.weight", value: "8:0 1" } },
    ]);
  });

  test("throttles are keys of io.max, one a write, and a rate of 0 lifts the limit", () => {
    const device = (rate: number) => [{ major: 8, minor: 16, rate }];
    const io = {
      throttleReadBpsDevice: device(1),
      throttleWriteBpsDevice: device(2),
      throttleReadIOPSDevice: device(3),
      throttleWriteIOPSDevice: device(0),
    };
    expect(ioWrites(io).map((write) => `${write.file} ${write.value}`)).toEqual([
      "io.max 8:16 rbps=1",
      "io.max 8:16 wbps=2",
      "io.max 8:16 riops=3",
      "io.max 8:16 wiops=max",
    ]);
  });

  test("leaf weights are refused by name", () => {
    expect(() => ioWrites({ leafWeight: 10 })).toThrow("linux.resources.blockIO.leafWeight: cgroup v2 has no leaf");
    expect(() => ioWrites({ weightDevice: [{ major: 1, minor: 1, leafWeight: 5 }] })).toThrow(
      "weightDevice[0].leafWeight",
    );
  });
});
