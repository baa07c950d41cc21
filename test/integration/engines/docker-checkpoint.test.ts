/** `docker checkpoint` and `docker start --checkpoint`, which are experimental. Needs criu(8). */
import { afterAll, beforeAll, expect, test } from "vitest";
import { COUNT, countedBy, LONG } from "../../helpers/checkpoint.ts";
import { type Docker, IMAGE, startDocker } from "../../helpers/docker.ts";
import { describeNeeds } from "../../helpers/needs.ts";

const NET = "--network=none";
const COUNTING = ["sh", "-c", COUNT];

describeNeeds({ root: true, tsrun: true, criu: true, commands: ["dockerd", "docker"] })("docker, checkpoint", () => {
  let engine: Docker;
  const ok = (...args: string[]) => engine.ok(args);
  const counted = (id: string, least?: number) =>
    countedBy(() => engine.run(["exec", id, "cat", "/dev/shm/n"]).stdout, id, least);

  beforeAll(async () => {
    engine = await startDocker(["--experimental"]);
  }, LONG);
  afterAll(() => engine?.stop(), LONG);

  test(
    "checkpoint create, ls and start --checkpoint: the counter goes on",
    async () => {
      const id = ok("run", "-d", NET, IMAGE, ...COUNTING);
      const was = await counted(id);
      ok("checkpoint", "create", "--leave-running", id, "first");
      const { count } = await counted(id, was.count + 1);
      ok("checkpoint", "create", id, "second");
      expect(ok("inspect", "-f", "{{.State.Status}}", id)).toBe("exited");
      expect(ok("checkpoint", "ls", id)).toMatch(/first\nsecond$/);
      ok("start", "--checkpoint", "second", id);
      const is = await counted(id, count + 1);
      expect(is.name).toBe(was.name);
      ok("rm", "-f", id);
    },
    LONG,
  );
});
