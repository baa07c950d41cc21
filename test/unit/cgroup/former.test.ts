import { describe, expect, test } from "vitest";
import { formerText } from "../../../src/cgroup/former.ts";

describe("cgroup/former", () => {
  test("a file with one value has it back, also one of several words", () => {
    expect(formerText("memory.max", "max", "1024")).toBe("max");
    expect(formerText("cpu.max", "max 100000", "5000 10000")).toBe("max 100000");
    expect(formerText("cpu.max", "max 100000", "5000")).toBe("max 100000");
  });

  test("of a file with a line for each device the line of this one", () => {
    const limits = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=3 riops=4 wiops=5";
    expect(formerText("io.max", limits, "8:16 rbps=9")).toBe("8:16 rbps=2 wbps=3 riops=4 wiops=5");
    expect(formerText("rdma.max", "mlx0 hca_handle=max hca_object=3", "mlx0 hca_handle=1")).toBe(
      "mlx0 hca_handle=max hca_object=3",
    );
    expect(formerText("net_prio.ifpriomap", "lo 0\neth0 5", "lo 7")).toBe("lo 0");
  });

  test("a device that had no line is as if nothing had been said of it", () => {
    expect(formerText("io.max", "", "8:0 rbps=9")).toBe("8:0 rbps=max wbps=max riops=max wiops=max");
    expect(formerText("io.max", "8:16 rbps=9 wbps=max riops=max wiops=max", "8:0 rbps=9")).toContain("8:0 rbps=max");
    expect(formerText("blkio.throttle.read_bps_device", "", "8:0 9")).toBe("8:0 0");
    expect(formerText("io.bfq.weight", "default 100", "8:0 200")).toBe("8:0 default");
  });

  test("the weight of the whole group is the line that is called default", () => {
    expect(formerText("io.weight", "default 100\n8:0 50", "200")).toBe("default 100");
    expect(formerText("io.weight", "default 100\n8:0 50", "default 200")).toBe("default 100");
    expect(formerText("blkio.bfq.weight", "100", "200")).toBe("100");
  });

  test("an empty set of CPUs is written as a line, of which the kernel takes notice", () => {
    expect(formerText("cpuset.cpus", "", "0")).toBe("\n");
  });

  test("files that are read otherwise than they are written", () => {
    expect(formerText("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3", "1")).toBe("0");
    expect(formerText("cpuset.cpus.partition", "root invalid (no cpus)", "member")).toBe("root");
    expect(formerText("cgroup.subtree_control", "cpu pids", "+memory -pids +cpu")).toBe("-memory +pids +cpu");
  });

  test("what cannot be told is not guessed", () => {
    expect(formerText("memory.reclaim", "", "1M")).toBeUndefined();
    expect(formerText("memory.stat", "anon 1\nfile 2", "1")).toBeUndefined();
    expect(formerText("misc.max", "res_a max\nres_b 3", "res_c 1")).toBeUndefined();
  });
});
