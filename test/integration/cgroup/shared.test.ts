/** Two containers that name one cgroup: the end of one is not that of the other. */
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { runDetached, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { TEST_PREFIX } from "../../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true, cgroup: ["v1", "v2"] });
const systemd = needs({ root: true, tsrun: true, systemd: true });
const v1 = needs({ root: true, tsrun: true, cgroup: "v1", controllers: ["freezer"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

const statusOf = (id: string) => stateOf(id)?.status;

describe("a cgroup that two containers name", () => {
  const named = (cgroupsPath: string) =>
    sleepingBundle({
      edit: (spec) => {
        spec.linux.cgroupsPath = cgroupsPath;
      },
    });

  async function ended(id: string): Promise<void> {
    runOk(["kill", id, "KILL"]);
    await until(() => statusOf(id) === "stopped", "it ends");
  }

  root("the end of the first is not that of the second: not by kill, and not by delete", async () => {
    const bundle = named(`/${TEST_PREFIX}-shared/one`);
    const first = startContainer(bundle);
    await ended(first.id);
    const second = startContainer(bundle);
    const { pid } = stateOf(second.id) ?? {};
    expect(run(["ps", "-f", "json", first.id]).stdout).toBe("[]\n");
    expect(run(["kill", "--all", first.id, "KILL"]).code).toBe(0);
    const refused = run(["delete", "--force", first.id]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(`1 process(es) left: ${pid}`) });
    expect(statusOf(second.id)).toBe("running");
    runOk(["delete", "--force", second.id]);
    runOk(["delete", first.id]);
  });

  systemd("nor is it where the cgroup is systemd's, with or without a pid namespace", async () => {
    const bundle = named(`:${TEST_PREFIX}:shared`);
    for (const hasPids of [true, false]) {
      const kept = ({ type }: { type: string }) => hasPids || type !== "pid";
      bundle.edit((spec) => {
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(kept);
      });
      const [first, second] = [newId(), newId()];
      const start = (id: string) => runDetached(["--systemd-cgroup", "run", "-d", "-b", bundle.path, id]);
      expect(start(first).code).toBe(0);
      await ended(first);
      expect(start(second).code).toBe(0);
      runOk(["delete", first]);
      expect(statusOf(second)).toBe("running");
      runOk(["delete", "--force", second]);
    }
  });

  v1("a paused container among the processes of others is deleted, and these go on", async () => {
    const cgroup = `/sys/fs/cgroup/freezer/${TEST_PREFIX}-shared`;
    mkdirSync(cgroup);
    const other = spawn(["-c", "while :; do echo on; read line || exit; done"], { runtime: "sh" });
    await other.waitFor("on\n");
    writeFileSync(`${cgroup}/cgroup.procs`, String(other.pid));
    const { id } = startContainer(named(`/${TEST_PREFIX}-shared`));
    runOk(["pause", id]);
    runOk(["delete", "--force", id]);
    other.child.stdin?.write("\n");
    await other.waitFor("on\non\n");
    other.child.stdin?.end();
    await other.exit;
    rmdirSync(cgroup);
  });
});
