import { describe, expect, test } from "vitest";
import { parseNetDev } from "../../../src/runtime/network.ts";

// What Linux 6.18 wrote in a namespace with a veth.
const TEXT = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0: 1296     16    2    3    0     0          0         0     1186      15    4    5    0     0       0          0
`;

describe("runtime/network", () => {
  test("each interface has what came in and what went out", () => {
    expect(parseNetDev(TEXT).map(({ Name }) => Name)).toEqual(["lo", "eth0"]);
    expect(parseNetDev(TEXT)[1]).toEqual({
      Name: "eth0",
      RxBytes: 1296,
      RxPackets: 16,
      RxErrors: 2,
      RxDropped: 3,
      TxBytes: 1186,
      TxPackets: 15,
      TxErrors: 4,
      TxDropped: 5,
    });
  });

  test("no line is no interface", () => {
    expect(parseNetDev("")).toEqual([]);
    expect(parseNetDev(TEXT.split("\n").slice(0, 2).join("\n"))).toEqual([]);
  });
});
