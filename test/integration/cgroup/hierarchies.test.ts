/**
 * The four rules of cgroup v1's hierarchies, as a container meets them. Rules: cgroups(7) "Cgroups version 1"; kernel
 * cgroup-v1/cgroups.rst "Overview".
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import { detectCgroups, joinFds, processCgroups } from "../../../src/cgroup/manager.ts";
import { needs } from "../../helpers/needs.ts";
import { scratch } from "../../helpers/scratch.ts";
import { destroyAll, ended, make, newName, runIn, startIn } from "./helpers.ts";

afterEach(destroyAll);

describe("hierarchies of cgroup v1", () => {
  const v1 = needs({ root: true, cgroup: "v1", controllers: ["cpu", "cpuacct", "pids"], files: ["/bin/busybox"] });

  v1("a hierarchy may have several controllers: they have one cgroup, which is joined once", () => {
    const shared = detectCgroups().v1.filter(({ controllers }) => controllers.length > 1);
    const record = make();
    for (const { controllers } of shared) {
      expect(new Set(controllers.map((name) => record.paths[name])).size).toBe(1);
      const dir = record.paths[controllers[0] as string];
      expect(joinFds(record).filter(({ path }) => path === `${dir}/tasks`)).toHaveLength(1);
      expect(record.made.filter((path) => path === dir)).toHaveLength(1);
    }
    // One line of /proc/self/cgroup for each hierarchy.
    const lines = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
    expect(joinFds(record)).toHaveLength(lines.length);
  });

  v1("a controller is in one hierarchy, and the kernel lets it into no other", () => {
    const all = detectCgroups().v1.flatMap(({ controllers }) => controllers);
    expect(all.toSorted()).toEqual([...new Set(all)].toSorted());
    const together = detectCgroups().v1.find(({ controllers }) => controllers.length > 1);
    const other = detectCgroups().v1.find(
      ({ controllers }) => controllers.length === 1 && !/=/.test(controllers[0] ?? ""),
    );
    if (other === undefined) throw new Error("no hierarchy of one controller");
    const mixed = `${other.controllers[0]},${together?.controllers[0] ?? all.find((name) => name !== other.controllers[0])}`;
    const result = spawnSync("mount", ["-n", "-t", "cgroup", "-o", mixed, "none", scratch("mount")], {
      encoding: "utf8",
    });
    expect(result.status).not.toBe(0);
    expect(result.stderr).toMatch(/busy|already mounted/);
  });

  v1("a process is in one cgroup of each hierarchy: it leaves the one it was in", async () => {
    const name = newName();
    const [first, second] = [make({ cgroupsPath: `/${name}/1` }), make({ cgroupsPath: `/${name}/2` })];
    const child = await startIn(first, "echo ready; exec sleep 1000");
    const pid = child.pid as number;
    expect(processCgroups(pid, detectCgroups())).toEqual(first.paths);
    // Of one hierarchy alone: the others are not concerned.
    writeFileSync(`${second.paths.pids}/cgroup.procs`, String(pid));
    expect(processCgroups(pid, detectCgroups())).toEqual({ ...first.paths, pids: second.paths.pids });
    expect(readFileSync(`${first.paths.pids}/cgroup.procs`, "utf8")).toBe("");
    expect(readFileSync(`${first.paths.cpu}/cgroup.procs`, "utf8")).toBe(`${pid}\n`);
    child.kill("SIGKILL");
    await ended(child);
  });

  v1("a child is born where its parent is, and goes its own way from there", () => {
    const name = newName();
    const [parent, other] = [make({ cgroupsPath: `/${name}/1` }), make({ cgroupsPath: `/${name}/2` })];
    const file = `${other.paths.pids}/cgroup.procs`;
    const script = `born() { cut -d: -f3 /proc/self/cgroup | grep -c ${name}/$1; }; born 1; (echo 0 > ${file}; born 2); born 2`;
    const hierarchies = new Set(joinFds(parent).map(({ path }) => path)).size;
    expect(runIn(parent, script).stdout.split("\n")).toEqual([String(hierarchies), "1", "0", ""]);
  });
});
