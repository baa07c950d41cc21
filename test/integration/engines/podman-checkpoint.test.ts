/** `podman container checkpoint` and `restore`. Needs criu(8). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { COUNT, countedBy, LONG } from "../../helpers/checkpoint.ts";
import { cgroupLayout, describeNeeds } from "../../helpers/needs.ts";
import { type Podman, startPodman } from "../../helpers/podman.ts";
import { scratch } from "../../helpers/scratch.ts";

const NET = "--network=none";
const COUNTING = ["sh", "-c", COUNT];

describeNeeds({ root: true, tsrun: true, criu: true, commands: ["podman"] })("podman, checkpoint", () => {
  let podman: Podman;
  const counted = (id: string, least?: number) =>
    countedBy(() => podman.run("exec", id, "cat", "/dev/shm/n").stdout, id, least);
  const state = (id: string) => podman.ok("inspect", "-f", "{{.State.Status}} {{.State.Checkpointed}}", id);

  beforeAll(async () => {
    podman = await startPodman(cgroupLayout() === "v2" ? "systemd" : "cgroupfs");
  }, LONG);
  afterAll(() => podman?.stop(), LONG);

  test(
    "container checkpoint and restore: the counter goes on, and the container is as any other",
    async () => {
      const id = podman.ok("run", "-d", NET, "-m", "64m", "bb", ...COUNTING);
      const was = await counted(id, 3);
      podman.ok("container", "checkpoint", id);
      expect(state(id)).toBe("exited true");
      podman.ok("container", "restore", id);
      expect(state(id)).toBe("running false");
      const is = await counted(id, was.count + 1);
      expect(is.name).toBe(was.name);
      podman.ok("container", "checkpoint", "--leave-running", id);
      expect(state(id)).toMatch(/^running/);
      await counted(id, is.count + 1);
      podman.ok("stop", "-t", "0", id);
      podman.ok("rm", id);
    },
    LONG,
  );

  test(
    "--pre-checkpoint, then --with-previous and --export; --import under two other names",
    async () => {
      const dir = scratch("exported");
      const id = podman.ok("run", "-d", NET, "bb", ...COUNTING);
      const was = await counted(id);
      podman.ok("container", "checkpoint", "--pre-checkpoint", "--export", join(dir, "before.tar"), id);
      expect(state(id)).toMatch(/^running/);
      podman.ok("container", "checkpoint", "--with-previous", "--export", join(dir, "after.tar"), id);
      podman.ok("rm", id);
      const [one, two] = [`one-${id.slice(0, 12)}`, `two-${id.slice(0, 12)}`];
      for (const name of [one, two]) {
        const from = ["--import-previous", join(dir, "before.tar"), "--import", join(dir, "after.tar")];
        podman.ok("container", "restore", ...from, "--name", name);
      }
      expect((await counted(one, was.count + 1)).name).toBe(was.name);
      expect((await counted(two, was.count + 1)).name).toBe(was.name);
      podman.ok("rm", "-f", "-t", "0", one, two);
    },
    LONG,
  );
});
