import { describe, expect, test } from "vitest";
import { bitsOf } from "../../../src/plan/schedule.ts";
import { planOf, stepsOf } from "./helpers.ts";

describe("plan/schedule", () => {
  test("a list of CPUs becomes whole words of bits", () => {
    expect([...bitsOf("")]).toEqual([]);
    expect([...bitsOf("0")]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect([...bitsOf("0-3,7, 9")]).toEqual([0x8f, 2, 0, 0, 0, 0, 0, 0]);
    expect(bitsOf("64")).toHaveLength(16);
    // A range beyond any machine does not take all memory.
    expect(bitsOf("0-99999999999").length).toBeLessThanOrEqual(1024);
  });

  test("every container may use all CPUs that its cgroup allows, whatever its caller is bound to", () => {
    const steps = stepsOf({}, "CPU affinity");
    expect(steps).toEqual(["sched_setaffinity all"]);
  });

  test("scheduler, I/O priority and personality are set while the process has every privilege", () => {
    const { steps } = planOf({
      spec: (spec) => {
        spec.process.scheduler = { policy: "SCHED_RR", priority: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"] };
        spec.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 3 };
        spec.linux.personality = { domain: "LINUX32" };
      },
    });
    const at = (op: string) => steps.findIndex((step) => step.op === op);
    for (const op of ["schedAttr", "ioPriority", "personality"]) {
      expect(at(op)).toBeGreaterThan(0);
      expect(at(op)).toBeLessThan(at("boundingSet"));
    }
    const attr = steps[at("schedAttr")]?.args[0] as Uint8Array;
    expect([...attr.subarray(0, 12)]).toEqual([48, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    expect(attr[20]).toBe(5);
    expect(steps[at("ioPriority")]?.args).toEqual([2 * 0x2000 + 3]);
    expect(steps[at("personality")]?.args).toEqual([8]);
  });

  test("a memory policy has its flags in the mode", () => {
    const wanted = (policy: object) =>
      planOf({ spec: (spec) => Object.assign(spec.linux, { memoryPolicy: policy }) }).steps.find(
        ({ op }) => op === "memoryPolicy",
      )?.args;
    expect(wanted({ mode: "MPOL_BIND", nodes: "0-1", flags: ["MPOL_F_STATIC_NODES"] })?.[0]).toBe(2 | 0x8000);
    expect(wanted({ mode: "MPOL_LOCAL" })).toEqual([4, new Uint8Array()]);
  });
});
