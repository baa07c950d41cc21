/** The host's mounts stay in the mount namespace of a container without pivot_root(2). */
import { afterAll, describe, expect } from "vitest";
import { withAttacker } from "../../helpers/attacker.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, hostMounts, inventory, newId, RUNTIME, run, runBundle } from "../../helpers/runtime.ts";

const root = needs({ root: true, compiled: "attacker" });
const before = inventory();
afterAll(() => expectNothingLeft(before));

describe("--no-pivot", () => {
  root("leaves the host its mounts, even where they are shared with the container", () => {
    const there = hostMounts();
    const bundle = makeBundle({
      edit: (spec) => {
        spec.linux.rootfsPropagation = "rshared";
      },
    });
    // In a mount namespace whose mounts are shared, as those of a host with systemd are.
    const script = `mount --make-rshared / && "$0" run --no-pivot -b "$1" "$2" && cat /proc/self/mountinfo | wc -l`;
    const result = run(["-m", "sh", "-c", script, RUNTIME, bundle.path, newId()], { runtime: "unshare" });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(Number(result.stdout)).toBe(there.length);
  });
});

describe("masks", () => {
  for (const flags of [[], ["--no-pivot"]]) {
    root(`a procfs without them cannot be mounted in a user namespace of the container's own ${flags.join("")}`, () => {
      const bundle = makeBundle({
        args: ["/bin/attacker", "kernel", "/tmp"],
        rootfs: (path) => {
          busyboxRootfs(path);
          withAttacker(path);
        },
        edit: (spec) => {
          delete spec.process.capabilities;
        },
      });
      const refused = "Operation not permitted";
      expect(runBundle(bundle, flags).stdout).toBe(`proc ${refused}\nsysfs ${refused}\n`);
    });
  }
});
