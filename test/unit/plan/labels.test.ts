import { describe, expect, test } from "vitest";
import { planOf, stepsOf } from "./helpers.ts";

describe("plan/labels", () => {
  test("labels go to a procfs of our own, before anything of the container is mounted", () => {
    const { steps } = planOf({
      spec: (spec) => {
        spec.process.apparmorProfile = "docker-default";
        spec.process.selinuxLabel = "system_u:system_r:container_t:s0";
        spec.mounts.push({ destination: "/proc", type: "proc", source: "proc" });
      },
      host: { apparmor: true, selinux: true },
    });
    const own = steps.findIndex(({ op, args }) => op === "fsmount" && args[1] === "proc");
    const proc = steps[own]?.args[0];
    expect(steps[own + 1]).toMatchObject({ op: "checkMount", args: [proc, 0x9fa0, -1, ""] });
    const opened = steps.filter(({ op, about }) => op === "openIn" && about.startsWith("process."));
    expect(opened.map(({ args }) => [args[1], args[2]])).toEqual([
      [proc, "thread-self/attr/keycreate"],
      [proc, "thread-self/attr/exec"],
      [proc, "thread-self/attr/apparmor/exec"],
    ]);
    expect(steps.findIndex(({ about }) => about.startsWith("mounts["))).toBeGreaterThan(own);
    const written = steps.filter(({ op, about }) => op === "write" && about.startsWith("process."));
    expect(written.map(({ args }) => args[1])).toEqual([
      "system_u:system_r:container_t:s0",
      "system_u:system_r:container_t:s0",
      "exec docker-default",
    ]);
    // The session keyring is made after its label is known.
    expect(steps.findIndex(({ op }) => op === "keyring")).toBeGreaterThan(steps.indexOf(written.at(-1) as never));
  });

  test("a label for a module that is not there is refused", () => {
    for (const edit of [{ apparmorProfile: "p" }, { selinuxLabel: "l" }]) {
      expect(() => planOf({ spec: (spec) => Object.assign(spec.process, edit), host: { apparmor: false } })).toThrow(
        /AppArmor|SELinux/,
      );
    }
  });

  test("mountLabel is the context of the file systems that the container has to itself", () => {
    const steps = stepsOf(
      {
        spec: (spec) => {
          spec.linux.mountLabel = "system_u:object_r:container_file_t:s0";
          spec.mounts.push(
            { destination: "/run", type: "tmpfs", source: "tmpfs" },
            { destination: "/proc", type: "proc", source: "proc" },
          );
        },
        host: { selinux: true },
      },
      "mounts[",
    );
    expect(steps.filter((step) => step.includes("context="))).toHaveLength(1);
  });

  test("an annotation of crun's says which of their contexts it is", () => {
    const steps = stepsOf(
      {
        spec: (spec) => {
          spec.linux.mountLabel = "u:r:t:s0";
          spec.annotations = { "run.oci.mount_context_type": "rootcontext" };
          spec.mounts.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
        },
        host: { selinux: true },
      },
      "mounts[",
    );
    expect(steps.filter((step) => step.includes("context=")).join()).toContain("rootcontext=u:r:t:s0");
  });
});
