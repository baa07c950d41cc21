import { describe, expect, test } from "vitest";
import { unifiedWrites } from "../../../../src/cgroup/v2/unified.ts";

describe("cgroup/v2/unified", () => {
  test("each file belongs to the controller it is named after, and each line is a write", () => {
    expect(
      unifiedWrites({ "memory.high": "100", "io.max": "8:0 rbps=1\n8:16 wbps=2\n", "cgroup.freeze": "0" }),
    ).toEqual([
      { controller: "memory", writes: [{ file: "memory.high", value: "100", named: true }] },
      {
        controller: "io",
        writes: [
          { file: "io.max", value: "8:0 rbps=1", named: true },
          { file: "io.max", value: "8:16 wbps=2", named: true },
        ],
      },
      { controller: "cgroup", writes: [{ file: "cgroup.freeze", value: "0", named: true }] },
    ]);
  });

  test("an empty value is written, as it clears a file such as cpuset.cpus", () => {
    expect(unifiedWrites({ "cpuset.cpus": "" })[0]?.writes).toEqual([{ file: "cpuset.cpus", value: "", named: true }]);
  });

  test("a name is never a path", () => {
    for (const name of ["../memory.max", "memory", "a/memory.max", ".max", "memory.max\0", "memory.max\n", ""]) {
      expect(() => unifiedWrites({ [name]: "1" }), JSON.stringify(name)).toThrow("linux.resources.unified");
    }
  });
});
