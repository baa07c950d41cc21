/** `ctr task checkpoint`, `ctr container checkpoint` and `restore`. Needs criu(8). */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { COUNT, countedBy, LONG } from "../../helpers/checkpoint.ts";
import { type Containerd, RUNTIME_FLAGS, startContainerd } from "../../helpers/containerd.ts";
import { busyboxTar, ociArchive } from "../../helpers/engine-image.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const COUNTING = ["sh", "-c", COUNT];

describeNeeds({ root: true, tsrun: true, criu: true, commands: ["containerd", "ctr"] })(
  "containerd, checkpoint",
  () => {
    let engine: Containerd;
    let execs = 0;
    const counted = (id: string, least?: number) => {
      const read = () => engine.ctr(["task", "exec", "--exec-id", `e${++execs}`, id, "cat", "/dev/shm/n"]).stdout;
      return countedBy(read, id, least);
    };

    beforeAll(async () => {
      engine = await startContainerd();
    }, LONG);
    afterAll(() => engine?.stop(), LONG);

    test(
      "task checkpoint writes images and leaves the task running, or ends it",
      async () => {
        engine.startTask("kept", ["--null-io"], ...COUNTING);
        const was = await counted("kept");
        const images = scratch("images");
        engine.ok("task", "checkpoint", "--image-path", images, "kept");
        expect(readdirSync(images)).toContain("inventory.img");
        expect(engine.taskStatus("kept")).toBe("RUNNING");
        expect((await counted("kept", was.count + 1)).name).toBe(was.name);
        engine.ok("task", "checkpoint", "--exit", "--image-path", scratch("images"), "kept");
        await until(() => engine.taskStatus("kept") === "STOPPED", "the task has ended");
        engine.ok("task", "delete", "kept");
        engine.ok("container", "delete", "kept");
      },
      LONG,
    );

    test(
      "container checkpoint with its task, and restore --live: the counter goes on",
      async () => {
        const image = "localhost/busybox:test";
        engine.ok("image", "import", ociArchive(busyboxTar(), image, ["sh"]));
        // A test that is tried again does not meet its own names.
        const [id, again, kept] = [`live${++execs}`, `again${execs}`, `localhost/kept:${execs}`];
        const remove = async (name: string) => {
          engine.ok("task", "kill", "-s", "SIGKILL", name);
          await until(() => engine.taskStatus(name) === "STOPPED", "the task has ended");
          engine.ok("task", "delete", name);
          engine.ok("container", "delete", name);
        };
        engine.ok("run", "-d", "--null-io", ...RUNTIME_FLAGS, image, id, ...COUNTING);
        const was = await counted(id, 3);
        engine.ok("container", "checkpoint", "--rw", "--task", id, kept);
        await remove(id);

        // Here ctr gives it pipes.
        engine.ok("container", "restore", "--rw", "--live", again, kept);
        expect(engine.taskStatus(again)).toBe("RUNNING");
        expect((await counted(again, was.count + 1)).name).toBe(was.name);
        await remove(again);
      },
      LONG,
    );
  },
);
