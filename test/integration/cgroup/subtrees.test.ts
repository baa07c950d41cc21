/** Cgroups below a container's, and above it, on v2: groups that are killed whole, threads, delegation. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import { destroyCgroup } from "../../../src/cgroup/manager.ts";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run, runBundle } from "../../helpers/runtime.ts";
import { destroyAll, left, make, newName, read, runIn, startIn } from "./helpers.ts";

afterEach(destroyAll);

const MEGABYTE = 2 ** 20;
const forever = "echo ready; exec sleep 1000";

/** A cgroup with a process in it, as that of a container is inside of which tsrun runs. */
async function occupied(): Promise<{ name: string; dir: string }> {
  const name = newName();
  const record = make({ cgroupsPath: `/${name}` });
  await startIn(record, forever);
  return { name, dir: record.paths[""] as string };
}

describe("cgroup v2 subtrees", () => {
  const v2 = needs({ root: true, cgroup: "v2", controllers: ["memory", "pids", "cpu"], files: ["/bin/busybox"] });

  v2("memory.oom.group: one that takes too much takes all with it, and each is counted", () => {
    const id = newId();
    const bundle = makeBundle({
      args: ["sh", "-c", "sleep 1000 & head -c 200m /dev/zero | tail; echo survived; sleep 1000"],
      edit: (spec) => {
        spec.linux.resources = {
          memory: { limit: 24 * MEGABYTE, swap: 24 * MEGABYTE },
          unified: { "memory.oom.group": "1" },
        };
      },
    });
    const { code, stdout } = run(["run", "--keep", "-b", bundle.path, id]);
    expect({ code, stdout }).toEqual({ code: 137, stdout: "" });
    const { exit } = JSON.parse(run(["state", id]).stdout);
    expect(exit).toMatchObject({ exitCode: 137, signal: "SIGKILL", oomKilled: true });
    // The shell, sleep, head and tail: those that were there still.
    expect(exit.oomKills).toBeGreaterThan(1);
    run(["delete", id]);
  });

  v2("below a threaded cgroup a container is threaded too, and gets what works there", async () => {
    const name = newName();
    const above = make({ cgroupsPath: `/${name}` });
    const dir = above.paths[""] as string;
    mkdirSync(`${dir}/threads`);
    writeFileSync(`${dir}/threads/cgroup.type`, "threaded");
    writeFileSync(`${dir}/cgroup.subtree_control`, "+pids");
    const resources = { pids: { limit: 7 } };
    const record = make({ cgroupsPath: `/${name}/threads/a`, resources });
    expect(read(record, "", "cgroup.type")).toBe("threaded");
    expect(read(record, "", "pids.max")).toBe("7");
    expect(() => make({ cgroupsPath: `/${name}/threads/b`, resources: { memory: { limit: 2 ** 25 } } })).toThrow(
      /cannot set memory limit: cgroup .* is "domain invalid", as the one above it is threaded/,
    );
    destroyCgroup(record);
    expect(left(record)).toEqual([]);
    rmdirSync(`${dir}/threads`);
  });

  v2("below a cgroup with processes a container without limits is none of threads", async () => {
    const { dir, name } = await occupied();
    const record = make({ cgroupsPath: `/${name}/a/b` });
    expect(readFileSync(`${dir}/cgroup.subtree_control`, "utf8")).toBe("");
    expect([dir, record.paths[""]].map((path) => readFileSync(`${path}/cgroup.type`, "utf8"))).toEqual([
      "domain\n",
      "domain\n",
    ]);
    expect(runIn(record, "cat /proc/self/cgroup").stdout).toBe(`0::/${name}/a/b\n`);
  });

  v2("below a cgroup with processes a container gets the limits that work for threads, and no others", async () => {
    const { dir, name } = await occupied();
    const memory = { memory: { limit: 2 ** 26 } };
    expect(() => make({ cgroupsPath: `/${name}/a`, resources: { ...memory, pids: { limit: 7 } } })).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/^cannot set memory limit: controller memory is not available in cgroup /),
        fix: expect.stringContaining(`${dir} has processes of its own`),
      }),
    );
    expect(readFileSync(`${dir}/cgroup.type`, "utf8")).toBe("domain\n");
    const record = make({ cgroupsPath: `/${name}/a/b`, resources: { pids: { limit: 7 } } });
    expect([read(record, "", "cgroup.type"), read(record, "", "pids.max")]).toEqual(["threaded", "7"]);
    expect(runIn(record, "cat /proc/self/cgroup").stdout).toBe(`0::/${name}/a/b\n`);
    // From then on those without a limit are threaded too.
    const other = make({ cgroupsPath: `/${name}/c` });
    expect(runIn(other, "cat /proc/self/cgroup").stdout).toBe(`0::/${name}/c\n`);
  });

  v2("a threaded subtree that the container made is killed and removed with it", async () => {
    const record = make();
    const dir = record.paths[""] as string;
    const script = `mkdir '${dir}/t' && echo threaded > '${dir}/t/cgroup.type' && echo $$ > '${dir}/t/cgroup.threads'`;
    const child = await startIn(record, `${script} || exit 9; ${forever}`);
    expect(readFileSync(`/proc/${child.pid}/cgroup`, "utf8")).toContain("/t\n");
    destroyCgroup(record, { kill: true });
    expect(left(record)).toEqual([]);
  });

  v2("of a delegated cgroup its user hands controllers down and moves processes, and the limits stay root's", () => {
    const record = make({ owner: 1000, resources: { pids: { limit: 20 }, memory: { limit: 2 ** 26 } } });
    const dir = record.paths[""] as string;
    const asUser = (script: string) =>
      runIn(
        record,
        `exec /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups sh -c '${script.replaceAll("'", "")}'`,
      );
    const refused = asUser(`echo max > ${dir}/pids.max; echo max > ${dir}/memory.max`);
    expect(refused.stderr.match(/Permission denied/g)).toHaveLength(2);
    const made = asUser(
      `mkdir ${dir}/sub && echo $$ > ${dir}/sub/cgroup.procs && echo +pids > ${dir}/cgroup.subtree_control &&
       echo 5 > ${dir}/sub/pids.max && cat ${dir}/sub/pids.max; cut -d: -f3 /proc/self/cgroup`,
    );
    expect(made.stderr).toBe("");
    expect(made.stdout).toMatch(/^5\n.*\/sub\n$/);
    expect([read(record, "", "pids.max"), read(record, "", "memory.max")]).toEqual(["20", String(2 ** 26)]);
    // What is below goes as well, though it is another's.
    destroyCgroup(record, { kill: true });
    expect(left(record)).toEqual([]);
  });

  v2("a container that hands its controllers down can still be joined and removed", async () => {
    const name = newName();
    const bundle = makeBundle({
      args: [
        "sh",
        "-c",
        "mkdir /sys/fs/cgroup/init && echo 0 > /sys/fs/cgroup/init/cgroup.procs && echo +pids > /sys/fs/cgroup/cgroup.subtree_control && cat /sys/fs/cgroup/init/pids.current",
      ],
      edit: (spec) => {
        spec.linux.cgroupsPath = `/${name}`;
        spec.linux.namespaces?.push({ type: "cgroup" });
        for (const mount of spec.mounts) if (mount.type === "cgroup") mount.options = ["nosuid", "noexec", "nodev"];
        spec.linux.resources = { pids: { limit: 30 } };
      },
    });
    const result = runBundle(bundle);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(Number(result.stdout)).toBeGreaterThan(0);
  });
});
