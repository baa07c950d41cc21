/** Under buildah, in runc's place: the commands of a build run in it. */
import { expect } from "vitest";
import { isSystemd, startBuildah } from "../../helpers/buildah.ts";
import { needs } from "../../helpers/needs.ts";

needs({ root: true, tsrun: true, commands: ["buildah", "unshare"] })(
  "buildah: a build runs its commands, and the image has what they wrote",
  () => {
    const { build, runIn } = startBuildah();
    expect(build().stderr).not.toContain("tsrun:");
    expect(runIn("c", [], "cat", "/built").stdout).toBe("built by 0\n");
    expect(runIn("c", [], "sh", "-c", "exit 3").code).toBe(3);
    const cgroup = runIn("c", [], "cat", "/proc/self/cgroup");
    expect(cgroup.stdout).toMatch(isSystemd ? /^0::\/.*\.slice\/.*\.scope$/m : /:\/.*buildah-/);
  },
);
