/** What update, pause and resume refuse, and what is kept of an update. What they do is in cgroup/modes. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { cgroupFile } from "../helpers/cgroup.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import { deleteContainers, newId, run, runOk, stateOf, until } from "../helpers/runtime.ts";

const on = (...controllers: string[]) => needs({ root: true, cgroup: ["v1", "v2"], controllers });
const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });
const MEGABYTE = 2 ** 20;

afterAll(deleteContainers);

const pids = (id: string) => cgroupFile(id, "pids", "pids.max", "pids.max");

describe("update", () => {
  own("pids")("names whose letters have another case are the spec's, as they are to programs in Go", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ Pids: { Limit: 31 } }) });
    expect(pids(id)).toBe("31");
    const twice = run(["update", "--resources", "-", id], { input: '{"pids": {"limit": 1}, "PIDS": {"limit": 2}}' });
    expect(twice.stderr).toContain('resources.PIDS: is the same member as "pids" beside it');
    expect(pids(id)).toBe("31");
  });

  own("pids")("a container whose seccomp profile compares numbers above 2^53 is updated, and keeps them", () => {
    const bundle = sleepingBundle();
    const config = JSON.parse(readFileSync(join(bundle.path, "config.json"), "utf8"));
    const args = [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }];
    const syscalls = [{ names: ["personality"], action: "SCMP_ACT_ERRNO", args }];
    config.Linux = { ...config.linux, seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls } };
    delete config.linux;
    const text = JSON.stringify(config).replace('"value":1,', '"value":9223372036854775809,');
    writeFileSync(join(bundle.path, "config.json"), text);
    const { id } = startContainer(bundle);
    for (const limit of ["19", "23"]) {
      runOk(["update", "--pids-limit", limit, id]);
      expect(pids(id)).toBe(limit);
    }
    const kept = readFileSync(`/run/tsrun/${id}/config.json`, "utf8");
    expect(kept).toContain('"linux":{');
    expect(kept).toContain('"value":9223372036854775809,');
  });

  own("memory")(
    "a limit that the kernel refuses is told with its file, and wrong values before anything is done",
    () => {
      const { id } = startContainer(sleepingBundle());
      const wrong = run(["update", "--memory", "lots", id]);
      expect(wrong).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('invalid value "lots" for flag --memory'),
      });
      const input = JSON.stringify({ memory: { limit: "1" }, pids: { limit: 5 } });
      const typed = run(["update", "--resources", "-", id], { input });
      expect(typed).toMatchObject({ code: 1, stderr: expect.stringContaining("resources.memory.limit") });
      const refused = run(["update", "--cpuset-cpus", "4095", id]);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("cpuset.cpus") });
      expect(run(["update", "--resources", "x", "--memory", "1m", id]).stderr).toContain("exclude each other");
    },
  );

  own("memory")("an exec after an update is in the changed cgroup, and a second update knows of the first", () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["update", "--memory", "80m", id]);
    runOk(["update", "--memory-reservation", "40m", id]);
    const config = JSON.parse(readFileSync(`/run/tsrun/${id}/config.json`, "utf8"));
    expect(config.linux.resources.memory).toEqual({ limit: 80 * MEGABYTE, reservation: 40 * MEGABYTE });
    expect(config.linux.resources.devices).toEqual(makeBundle().spec.linux.resources?.devices);
  });

  on("memory")("swap is asked for with the memory in it, and alone leaves the memory as it is", () => {
    const { id } = startContainer(sleepingBundle());
    const memory = () => Number(cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max"));
    const both = () => {
      const value = Number(cgroupFile(id, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"));
      return cgroupLayout() === "v2" ? value + memory() : value;
    };
    const changes = (flags: string[], expected: number[]) => {
      runOk(["update", ...flags, id]);
      expect([memory() / MEGABYTE, both() / MEGABYTE], flags.join(" ")).toEqual(expected);
    };
    changes(["--memory", "32m", "--memory-swap", "48m"], [32, 48]);
    changes(["--memory-swap", "80m"], [32, 80]);
    changes(["--memory-swap", "32m"], [32, 32]);
    changes(["--memory", "64m", "--memory-swap", "64m"], [64, 64]);
    expect(run(["update", "--memory-swap", "16m", id]).code).toBe(1);
    changes(["--pids-limit", "50"], [64, 64]);
  });

  own("memory")(
    "a limit below what is used is refused, if the container or the update wants that checked",
    async () => {
      const { id, waitFor } = startContainer(
        makeBundle({
          args: ["sh", "-c", "dd if=/dev/zero of=/dev/shm/file bs=1M count=24 2>/dev/null; echo full; exec sleep 3600"],
          edit: (spec) => {
            spec.linux.resources = { memory: { limit: 64 * MEGABYTE, checkBeforeUpdate: true } };
          },
        }),
      );
      await waitFor("full");
      const memory = () => cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max");
      const asked = (checkBeforeUpdate: boolean) =>
        JSON.stringify({ memory: { limit: 20 * MEGABYTE, checkBeforeUpdate } });
      const refused = { code: 1, stderr: expect.stringContaining("memory.limit 20971520 is below the usage") };
      expect(run(["update", "--memory", "20m", id])).toMatchObject(refused);
      expect(run(["update", "--resources", "-", id], { input: asked(true) })).toMatchObject(refused);
      expect([memory(), stateOf(id)?.status]).toEqual([String(64 * MEGABYTE), "running"]);
      runOk(["update", "--memory", "40m", id]);
      expect(memory()).toBe(String(40 * MEGABYTE));
      expect(run(["update", "--resources", "-", id], { input: asked(false) }).stderr).not.toContain(
        "is below the usage",
      );
    },
  );

  own()("a container that has stopped is not updated", async () => {
    const { id } = startContainer(makeBundle({ args: ["true"] }));
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    const result = run(["update", "--pids-limit", "5", id]);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("container not running: cannot update a container that is stopped"),
    });
    expect(run(["update", "--pids-limit", "5", newId()]).stderr).toContain("does not exist");
  });
});

describe("pause and resume", () => {
  on("freezer")("pause of what does not run, and resume of what is not paused, are errors", async () => {
    const { id } = startContainer(sleepingBundle());
    expect(run(["resume", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("not paused") });
    runOk(["pause", id]);
    expect(run(["pause", id]).code).toBe(1);
    expect(run(["exec", id, "true"])).toMatchObject({ code: 255, stderr: expect.stringContaining("paused") });
    expect(run(["delete", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("paused") });
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "a paused container dies of KILL");
    expect(run(["pause", id])).toMatchObject({ code: 1, stderr: expect.stringContaining("not running") });
    runOk(["delete", id]);
  });

  own()("a created container can be paused; it starts when it is resumed", async () => {
    const container = createContainer(makeBundle({ args: ["sh", "-c", "echo started; sleep 1000"] }));
    runOk(["pause", container.id]);
    runOk(["resume", container.id]);
    runOk(["start", container.id]);
    await container.waitFor("started");
  });
});
