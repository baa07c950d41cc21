import { describe, expect, test } from "vitest";
import { unifiedOptions } from "../../../src/cgroup/unified-options.ts";

describe("cgroup/unified-options", () => {
  test("the words of the file system are read, not those of the mount", () => {
    const line = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot";
    expect(unifiedOptions(`1 0 0:1 / / rw - ext4 /dev/vda rw\n${line}\n`)).toEqual({
      mount: "/sys/fs/cgroup",
      words: ["nsdelegate", "memory_recursiveprot"],
    });
  });

  test("without a v2 hierarchy there is nothing to keep", () => {
    expect(unifiedOptions("1 0 0:1 / / rw - ext4 /dev/vda rw\n30 24 0:26 / /c rw - cgroup cgroup rw,cpu\n")).toBe(
      undefined,
    );
  });
});
