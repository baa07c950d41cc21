import { describe, expect, test } from "vitest";
import { parseMap } from "../../../src/runtime/joined-userns.ts";

describe("runtime/joined-userns", () => {
  test("a map of the kernel is a list of mappings", () => {
    expect(parseMap("         0     100000      65536\n     65536       1000          1\n")).toEqual([
      { containerID: 0, hostID: 100000, size: 65536 },
      { containerID: 65536, hostID: 1000, size: 1 },
    ]);
    expect(parseMap("")).toEqual([]);
  });
});
