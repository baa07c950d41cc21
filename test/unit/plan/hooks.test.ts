import { describe, expect, test } from "vitest";
import { planHook } from "../../../src/plan/hooks.ts";
import { AWAIT } from "../../../src/plan/step.ts";
import { planOf } from "./helpers.ts";

const hook = { path: "/bin/hook" };

describe("plan/hooks", () => {
  test("a container without hooks waits for none", () => {
    const { steps } = planOf();
    const tags = steps.filter(({ op }) => op === "await").map(({ args }) => args[0]);
    expect(tags).toEqual([AWAIT.READY]);
  });

  test("create hooks run after the last mount and before anything is masked or the root is changed", () => {
    const { steps } = planOf({
      spec: (spec) => {
        spec.hooks = { createRuntime: [hook] };
        spec.mounts.push({ destination: "/proc", type: "proc", source: "proc" });
        spec.linux.maskedPaths = ["/proc/kcore"];
      },
    });
    const at = steps.findIndex(({ op, args }) => op === "await" && args[0] === AWAIT.CREATE_HOOKS);
    expect(at).toBeGreaterThan(steps.findLastIndex(({ about }) => about.startsWith("mounts[")));
    expect(at).toBeLessThan(steps.findIndex(({ op }) => op === "mask"));
    expect(at).toBeLessThan(steps.findIndex(({ op }) => op === "pivot"));
  });

  test("startContainer hooks run after the start and before the process", () => {
    const { steps } = planOf({
      spec: (spec) => {
        spec.hooks = { startContainer: [hook] };
      },
      parameters: { waitForStart: true },
    });
    const at = steps.findIndex(({ op, args }) => op === "await" && args[0] === AWAIT.START_HOOKS);
    expect(at).toBeGreaterThan(steps.findIndex(({ op }) => op === "awaitStart"));
    expect(at).toBeLessThan(steps.findIndex(({ op }) => op === "exec"));
  });

  test("a hook joins the namespaces of the container but for its cgroup namespace, and becomes its root", () => {
    const setupIds = { uid: 0, gid: 0 };
    const request = {
      hook: { ...hook, args: ["a"], env: ["B=c"] },
      about: "hooks.x[0]",
      setupIds,
      setgroups: true,
      cwd: "/rootfs",
    };
    const plan = planHook({ ...request, namespaces: 0x10000000 | 0x2000000 | 0x20000 });
    const step = (name: string) => plan.steps.find(({ op }) => op === name)?.args;
    expect(step("setns")?.[1]).toBe(0x10000000 | 0x20000);
    expect(step("chdir")).toEqual(["/rootfs"]);
    expect(step("become")).toEqual([0, 0, 1]);
    expect(step("exec")).toEqual([["a"], ["B=c"]]);
    expect(plan.steps.at(-1)?.op).toBe("exec");
  });

  test("without arguments a hook's own path is its first", () => {
    const plan = planHook({ hook, about: "h", namespaces: 0, setupIds: { uid: 0, gid: 0 }, setgroups: true, cwd: "/" });
    expect(plan.steps.at(-1)?.args).toEqual([["/bin/hook"], []]);
  });
});
