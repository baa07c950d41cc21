/** What a container uses, and what happens to it; the same on cgroup v1 and v2. */
import { execFileSync, spawn as nodeSpawn } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { eventsOf, followed, isFollowing } from "../helpers/events.ts";
import { cgroupLayout, isKernel, needs } from "../helpers/needs.ts";
import { deleteContainers, newId, run, runOk, spawn, stateOf, until } from "../helpers/runtime.ts";

const on = (...controllers: string[]) => needs({ root: true, cgroup: ["v1", "v2"], controllers });
const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });
const MEGABYTE = 2 ** 20;
afterAll(deleteContainers);

const stats = (id: string) => JSON.parse(runOk(["events", "--stats", id]));

describe("events", () => {
  on("pids")("a stream has figures at every interval and ends with the container", async () => {
    const { id } = startContainer(sleepingBundle());
    const stream = spawn(["events", "--interval", "100ms", id]);
    await stream.waitFor("\n");
    const first = stream.stdout().length;
    await stream.waitFor(`${stream.stdout()}{`);
    expect(stream.stdout().length).toBeGreaterThan(first);
    runOk(["kill", id, "KILL"]);
    expect((await stream.exit).code).toBe(0);
    for (const line of stream.stdout().trim().split("\n"))
      expect(JSON.parse(line)).toMatchObject({ type: "stats", id });
  });

  needs({ root: true, tsrun: true, commands: ["ip"] })("interfaces of its own network namespace are counted", () => {
    const { id } = startContainer(sleepingBundle());
    expect(stats(id).data.network_interfaces).toBeNull();
    const pid = stateOf(id)?.pid;
    execFileSync("ip", `link add v0 netns ${pid} type veth peer name v1 netns ${pid}`.split(" "));
    execFileSync("nsenter", ["-t", String(pid), "-n", "ip", "link", "set", "v0", "up"]);
    const interfaces = stats(id).data.network_interfaces;
    expect(interfaces.map(({ Name }: { Name: string }) => Name).sort()).toEqual(["v0", "v1"]);
    expect(interfaces[0]).toMatchObject({ RxBytes: expect.any(Number), TxDropped: expect.any(Number) });
  });

  own()("the interfaces of the host are not a container's to count", () => {
    const bundle = sleepingBundle();
    bundle.edit((spec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "network") ?? [];
    });
    expect(stats(startContainer(bundle).id).data.network_interfaces).toBeNull();
  });

  on("memory")("a memory without a limit has the number that the kernel, or runc, has for it", () => {
    const { id } = startContainer(sleepingBundle());
    const none = cgroupLayout() === "v2" ? "18446744073709551615" : "9223372036854771712";
    expect(runOk(["events", "--stats", id])).toContain(`"memory":{`);
    expect(runOk(["events", "--stats", id])).toMatch(new RegExp(`"usage":\\{"limit":${none},"usage"`));
  });

  own("memory")("each kill is told once, however often memory is asked for until it has died", async () => {
    const bundle = makeBundle({
      // Throttled, so that it takes its time to die.
      args: ["sh", "-c", "read go; head -c 200m /dev/zero | tail"],
      edit: (spec) => {
        spec.linux.resources = {
          ...spec.linux.resources,
          memory: { limit: 24 * MEGABYTE, swap: 24 * MEGABYTE },
          cpu: { quota: 20_000, period: 100_000 },
        };
      },
    });
    const { container, stream } = await followed(bundle, ["oom", "exit"]);
    container.child.stdin?.write("go\n");
    await container.exit;
    expect((await stream.exit).code).toBe(0);
    const events = eventsOf(stream.stdout());
    const { type, data } = events.at(-1);
    expect({ type, data }).toMatchObject({ type: "exit", data: { oomKilled: true } });
    expect(events.slice(0, -1).map(({ type }) => type)).toEqual(Array(data.oomKills).fill("oom"));
    expect(data.oomKills).toBeLessThan(5);
  });

  needs({ root: true, tsrun: true, cgroup: ["hybrid", "v2"], controllers: ["cpu"], files: ["/proc/pressure/cpu"] })(
    "pressure is told when tasks had to wait",
    async () => {
      const bundle = makeBundle({
        args: ["sh", "-c", "read go; while :; do :; done"],
        edit: (spec) => {
          spec.linux.resources = { ...spec.linux.resources, cpu: { quota: 10_000, period: 100_000 } };
        },
      });
      const { id, container, stream } = await followed(bundle, ["pressure"], ["--pressure", "100ms"]);
      container.child.stdin?.write("go\n");
      await stream.waitFor("\n");
      const [event] = eventsOf(stream.stdout());
      expect(event).toMatchObject({ type: "pressure", id, data: { resource: "cpu" } });
      expect(event.data.some.total).toBeGreaterThan(100_000);
      runOk(["kill", id, "KILL"]);
      await container.exit;
      expect((await stream.exit).code).toBe(0);
    },
    30_000,
  );

  own()("--all follows the containers that are there and those that come", async () => {
    const there = startContainer(sleepingBundle()).id;
    const stream = spawn(["events", "--all", "--type", "exit"]);
    await until(() => isFollowing(stream.pid, there), "it is followed");
    const later = startContainer(sleepingBundle()).id;
    await until(() => isFollowing(stream.pid, later), "it is followed");
    for (const id of [later, there]) {
      runOk(["delete", "--force", id]);
      await stream.waitFor(id);
    }
    stream.child.kill("SIGTERM");
    await stream.exit;
    // The status of a detached container: an older kernel may have told it to its parent alone.
    const data = isKernel([6, 15]) ? { signal: "SIGKILL" } : {};
    expect(eventsOf(stream.stdout())).toMatchObject([
      { type: "exit", id: later, data },
      { type: "exit", id: there, data },
    ]);
  });

  own("memory", "cpu")("--all --format openmetrics prints the figures of all once", () => {
    const [first, second] = [startContainer(sleepingBundle()).id, createContainer(sleepingBundle()).id];
    const text = runOk(["events", "--all", "--format", "openmetrics"]);
    expect(text).toMatch(/^# TYPE tsrun_container_status stateset\n/);
    expect(text).toMatch(/\n# EOF\n$/);
    expect(text).toContain(`tsrun_container_status{id="${first}",tsrun_container_status="running"} 1\n`);
    expect(text).toContain(`tsrun_container_status{id="${second}",tsrun_container_status="created"} 1\n`);
    for (const id of [first, second]) {
      expect(text).toMatch(new RegExp(`^tsrun_container_memory_usage_bytes\\{id="${id}"\\} [1-9]\\d*$`, "m"));
      expect(text).toMatch(new RegExp(`^tsrun_container_cpu_usage_seconds_total\\{id="${id}"\\} [\\d.e-]+$`, "m"));
    }
    const one = runOk(["events", "--format", "openmetrics", first]);
    expect(one).toContain(`{id="${first}"}`);
    expect(one).not.toContain(second);
  });

  own()("a container that another tsrun is at work on is followed all the same", async () => {
    const { id } = startContainer(sleepingBundle());
    const other = nodeSpawn("flock", [`/run/tsrun/${id}`, "sh", "-c", "echo locked; exec sleep 1000"], {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    await new Promise((resolve) => other.stdout?.once("data", resolve));
    const stream = spawn(["events", "--interval", "50ms", id]);
    await stream.waitFor('"stats"');
    expect(existsSync(`/run/tsrun/${id}/exit`)).toBe(false);
    process.kill(-(other.pid as number), "SIGKILL");
    runOk(["kill", id, "KILL"]);
    expect((await stream.exit).code).toBe(0);
  });

  own()("what does not go together is refused", () => {
    expect(run(["events"]).stderr).toContain("events needs a container id, or --all");
    expect(run(["events", "--all", "x"]).stderr).toContain("not both");
    expect(run(["events", "--all", "--stats"]).stderr).toContain("--format openmetrics");
    expect(run(["events", "--stats", "--type", "oom", "x"]).stderr).toContain("--type");
    expect(run(["events", "--type", "oops", "x"]).stderr).toContain('invalid value "oops" for flag --type');
    const { id } = startContainer(sleepingBundle());
    expect(run(["events", "--pressure", "3s", "--type", "pressure", id]).stderr).toContain("1 to 2000 ms");
  });

  own()("of a container that does not run there is nothing to tell", () => {
    expect(run(["events", "--stats", newId()]).stderr).toContain("does not exist");
    const { id } = startContainer(sleepingBundle());
    const wrong = run(["events", "--interval", "5", id]);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("--interval") });
  });
});
