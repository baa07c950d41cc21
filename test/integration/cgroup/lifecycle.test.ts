/** From making a cgroup to removing it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import { execCgroups } from "../../../src/cgroup/exec.ts";
import { directoryOf, parseCgroupFile } from "../../../src/cgroup/hierarchies.ts";
import {
  cgroupProcesses,
  createCgroup,
  destroyCgroup,
  detectCgroups,
  freeze,
  isFrozen,
  killCgroup,
  processCgroups,
  thaw,
} from "../../../src/cgroup/manager.ts";
import { planCgroup } from "../../../src/cgroup/plan.ts";
import { SIGNALS } from "../../../src/sys/constants.ts";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run } from "../../helpers/runtime.ts";
import { destroyAll, ended, left, make, newName, runIn, startIn } from "./helpers.ts";

afterEach(destroyAll);

const forever = "echo ready; exec sleep 1000";

describe("cgroup lifecycle", () => {
  const root = needs({ root: true, cgroup: ["v1", "v2"], files: ["/bin/busybox"] });
  const v1 = needs({ root: true, cgroup: "v1", files: ["/bin/busybox"] });
  const hybrid = needs({ root: true, cgroup: "hybrid", files: ["/bin/busybox"] });
  const v2 = needs({ root: true, cgroup: "v2", files: ["/bin/busybox"] });

  root("a process that joins is in the container's cgroup of every hierarchy", async () => {
    const record = make();
    const child = await startIn(record, forever);
    expect(processCgroups(child.pid ?? 0, detectCgroups())).toEqual(record.paths);
    expect(cgroupProcesses(record)).toEqual([child.pid]);
  });

  root("what was made is removed, and nothing else", () => {
    const name = newName();
    const outer = make({ cgroupsPath: `/${name}/a` });
    const inner = make({ cgroupsPath: `/${name}/b/c` });
    expect(inner.made.some((dir) => dir.endsWith(`/${name}`))).toBe(false);
    destroyCgroup(outer);
    // The parent that it made as well is in use.
    expect(left(outer).length).toBe(outer.made.filter((dir) => dir.endsWith(`/${name}`)).length);
    destroyCgroup(inner);
    expect(left(inner)).toEqual([]);
    destroyCgroup(outer);
    expect(left(outer)).toEqual([]);
  });

  root("removing twice is fine", () => {
    const record = make();
    destroyCgroup(record);
    expect(left(record)).toEqual([]);
    destroyCgroup(record, { kill: true });
    expect(cgroupProcesses(record)).toEqual([]);
  });

  root("cgroups that the container made go with it, and their processes", async () => {
    const record = make();
    const dirs = Object.values(record.paths);
    const script = `mkdir -p ${dirs.map((dir) => `'${dir}/sub/deep'`).join(" ")}; sleep 1000 & ${forever}`;
    const child = await startIn(record, script);
    expect(cgroupProcesses(record)).toHaveLength(2);
    destroyCgroup(record, { kill: true });
    expect(left(record)).toEqual([]);
    expect(await ended(child)).toBe("SIGKILL");
  });

  root("cgroups below go whatever their names and however deep they are", async () => {
    const record = make();
    const name = "n".repeat(200);
    // Far deeper than the longest path, and a name that is no UTF-8.
    const dig = (dir: string) =>
      `cd '${dir}' && i=0 && while [ $i -lt 40 ]; do mkdir ${name} && cd ${name} || exit 1; i=$((i+1)); done`;
    const script = Object.values(record.paths).map((dir) => `(${dig(dir)}); mkdir "$(printf '${dir}/\\377 x')"`);
    const child = await startIn(record, `${script.join("; ")}; ${forever}`);
    expect(cgroupProcesses(record)).toEqual([child.pid]);
    destroyCgroup(record, { kill: true });
    expect(left(record)).toEqual([]);
  });

  root("a cgroup that was there before stays, with the cgroups below it", () => {
    const name = newName();
    const before = make({ cgroupsPath: `/${name}` });
    const again = make({ cgroupsPath: `/${name}` });
    expect(again.made).toEqual([]);
    destroyCgroup(again);
    expect(left(before)).toEqual(before.made);
  });

  root("a process that is left makes removal fail in bounded time, and it is named", async () => {
    const record = make();
    const child = await startIn(record, forever);
    const start = Date.now();
    expect(() => destroyCgroup(record)).toThrow(`1 process(es) left: ${child.pid}`);
    expect(Date.now() - start).toBeLessThan(10_000);
  });

  root("a cgroup with processes is warned of once, and they are not killed with it", async () => {
    const name = newName();
    const record = make({ cgroupsPath: `/${name}/x` });
    await startIn(record, forever);
    const warnings: string[] = [];
    const shared = make({ cgroupsPath: `/${name}/x`, warn: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining("container's cgroup is not empty: 1 process(es) found")]);
    destroyCgroup(shared, { kill: true });
    expect(cgroupProcesses(record)).toHaveLength(1);
  });

  root("a cgroup that is frozen, or below one, is refused and nothing is left", () => {
    const name = newName();
    const record = make({ cgroupsPath: `/${name}` });
    freeze(record);
    expect(() => make({ cgroupsPath: `/${name}` })).toThrow("container's cgroup unexpectedly frozen");
    expect(() => make({ cgroupsPath: `/${name}/below` })).toThrow("container's cgroup unexpectedly frozen");
    for (const dir of record.made) expect(existsSync(`${dir}/below`)).toBe(false);
    thaw(record);
  });

  root("frozen is frozen until thawed, and a killed one does not wait for that", async () => {
    const record = make();
    const child = await startIn(record, forever);
    expect(isFrozen(record)).toBe(false);
    freeze(record);
    expect(isFrozen(record)).toBe(true);
    thaw(record);
    expect(isFrozen(record)).toBe(false);
    freeze(record);
    killCgroup(record, SIGNALS.SIGKILL as number);
    expect(await ended(child)).toBe("SIGKILL");
  });

  root("processes that fork as fast as they can are all killed", async () => {
    const record = make({ resources: { pids: { limit: 50 } } });
    // Each child outlives its parent and forks anew.
    const script = "f() { while :; do (sleep 0.01 & exec sleep 0.01) & wait; done; }; f & f & f & echo ready; f";
    await startIn(record, script);
    killCgroup(record, SIGNALS.SIGKILL as number);
    destroyCgroup(record);
    expect(left(record)).toEqual([]);
  });

  root("another signal reaches every process of the cgroup once", async () => {
    const record = make();
    const child = await startIn(record, "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done");
    killCgroup(record, SIGNALS.SIGUSR1 as number);
    expect(await ended(child)).toMatch(/^(7|SIGUSR1)$/);
  });

  root("what a killed create had only planned is no leave to kill what was there before", async () => {
    const name = newName();
    const theirs = make({ cgroupsPath: `/${name}` });
    const child = await startIn(theirs, forever);
    const request = { id: "x", cgroupsPath: `/${name}`, rootless: false, hierarchies: detectCgroups() };
    const planned = planCgroup(request);
    expect(planned).toMatchObject({ paths: theirs.paths, made: [], planned: true });
    killCgroup(planned, SIGNALS.SIGKILL as number);
    killCgroup(planned, SIGNALS.SIGTERM as number);
    destroyCgroup(planned, { kill: true });
    expect(cgroupProcesses(planned)).toEqual([]);
    expect(cgroupProcesses(theirs)).toEqual([child.pid]);
  });

  root("what is planned is what is made", () => {
    const cgroupsPath = `/${newName()}/a/b`;
    const planned = planCgroup({ id: "x", cgroupsPath, rootless: false, hierarchies: detectCgroups() });
    const record = make({ cgroupsPath });
    expect({ ...planned, made: planned.made.toSorted() }).toEqual({
      ...record,
      made: record.made.toSorted(),
      planned: true,
    });
    destroyCgroup(planned, { kill: true });
    expect(left(record)).toEqual([]);
  });

  root("a path that goes up is refused before anything is made", () => {
    for (const cgroupsPath of ["/../x", "../x", "a/../../x"]) {
      expect(() => make({ cgroupsPath }), cgroupsPath).toThrow("linux.cgroupsPath");
    }
  });

  root("a name that is a file of cgroupfs is refused", () => {
    expect(() => make({ cgroupsPath: "/cgroup.procs" })).toThrow(/a file of cgroupfs has this name|EINVAL/);
  });

  root("an unprivileged caller does without, unless a path or a limit was asked", () => {
    const hierarchies = detectCgroups();
    const asNobody = <T>(body: () => T): T => {
      process.seteuid?.(65534);
      try {
        return body();
      } finally {
        process.seteuid?.(0);
      }
    };
    const request = { id: newName(), rootless: true, hierarchies };
    expect(asNobody(() => createCgroup(request))).toMatchObject({ paths: {}, made: [] });
    expect(() => asNobody(() => createCgroup({ ...request, resources: { pids: { limit: 5 } } }))).toThrow(
      /cannot set pids limit: (container could not join or create cgroup|rootless needs no limits)/,
    );
    expect(() => asNobody(() => createCgroup({ ...request, cgroupsPath: `/${newName()}` }))).toThrow(
      /permission denied/i,
    );
    expect(() => asNobody(() => createCgroup({ ...request, rootless: false }))).toThrow(/permission denied/i);
  });

  root("a parent that another delete takes away meanwhile is made anew", async () => {
    const name = newName();
    const { v1: mounted, unified } = detectCgroups();
    const parents = [...mounted, ...(unified ? [unified] : [])].map(({ mount }) => `${mount}/${name}`);
    const all = parents.map((dir) => `'${dir}'`).join(" ");
    const other = await startIn(
      { layout: "none", paths: {}, made: [] },
      `trap 'exit 0' TERM; echo ready; while :; do mkdir ${all}; rmdir ${all}; done 2>/dev/null`,
    );
    try {
      for (let i = 0; i < 30; i++) destroyCgroup(make({ cgroupsPath: `/${name}/${i}` }));
    } finally {
      // The shell ends between two commands.
      other.kill("SIGTERM");
      await ended(other);
    }
    for (const dir of parents) if (existsSync(dir)) rmdirSync(dir);
  });

  v1("a new cpuset has what the one above has, on every level", () => {
    const record = make({ cgroupsPath: `/${newName()}/a/b` });
    for (const dir of record.made.filter((path) => path.includes("/cpuset/"))) {
      expect(readFileSync(`${dir}/cpuset.cpus`, "utf8")).not.toBe("\n");
      expect(readFileSync(`${dir}/cpuset.mems`, "utf8")).not.toBe("\n");
    }
  });

  hybrid("the unified hierarchy is joined too", () => {
    const record = make();
    expect(record.paths[""]).toContain("/unified/");
    expect(runIn(record, "cat /proc/self/cgroup").stdout).toContain(`0::/${record.paths[""]?.split("/").pop()}\n`);
  });

  v2("exec joins the cgroup that the container's init is in", async () => {
    const record = make();
    const dir = record.paths[""] ?? "";
    const child = await startIn(record, `mkdir '${dir}/init'; echo 0 > '${dir}/init/cgroup.procs'; ${forever}`);
    writeFileSync(`${dir}/cgroup.subtree_control`, "+pids");
    expect(execCgroups(record, child.pid ?? 0, detectCgroups())).toEqual({ "": `${dir}/init` });
    expect(execCgroups(record, child.pid ?? 0, detectCgroups(), ["/init"])).toEqual({ "": `${dir}/init` });
  });

  root("exec --cgroup stays below the container's cgroup", () => {
    const record = make();
    const hierarchies = detectCgroups();
    expect(() => execCgroups(record, process.pid, hierarchies, ["../x"])).toThrow("--cgroup");
    expect(() => execCgroups(record, process.pid, hierarchies, ["absent"])).toThrow(
      "absent/cgroup.procs: no such file there",
    );
    const controller = Object.keys(record.paths)[0] ?? "";
    mkdirSync(`${record.paths[controller]}/sub`);
    if (record.layout === "v2") return;
    const paths = execCgroups(record, process.pid, hierarchies, [`${controller}:/sub`]);
    expect(paths[controller]).toBe(`${record.paths[controller]}/sub`);
    expect(paths[""]).toBe(record.paths[""]);
  });

  // What runc does with linux.cgroupsPath is what callers expect.
  const withRunc = needs({ root: true, cgroup: ["v1", "v2"], commands: ["runc"], files: ["/bin/busybox"] });
  for (const kind of ["absent", "absolute", "relative"] as const) {
    withRunc(`a cgroupsPath that is ${kind} is where runc has it`, () => {
      const id = newName();
      const cgroupsPath = { absent: undefined, absolute: `/${id}-p/q`, relative: `${id}-p/q` }[kind];
      const { path } = makeBundle({
        args: ["cat", "/proc/self/cgroup"],
        edit: (spec) => {
          if (cgroupsPath !== undefined) spec.linux.cgroupsPath = cgroupsPath;
          spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "cgroup") ?? [];
        },
      });
      const { stdout } = spawnSync("runc", ["run", "-b", path, id], { encoding: "utf8" });
      const record = make({ id, cgroupsPath });
      const { v1: mounted, unified } = detectCgroups();
      const seen: Record<string, string> = {};
      for (const { controllers, path: group } of parseCgroupFile(stdout)) {
        const first = controllers[0];
        const hierarchy = first === undefined ? unified : mounted.find((h) => h.controllers.includes(first));
        if (hierarchy === undefined) continue;
        for (const name of first === undefined ? [""] : controllers) seen[name] = directoryOf(hierarchy, group);
      }
      // runc leaves parents behind.
      const parents = Object.values(seen).map((dir) => dir.slice(0, dir.lastIndexOf("/")));
      destroyCgroup(record);
      for (const dir of parents) if (dir.endsWith(`${id}-p`) && existsSync(dir)) rmdirSync(dir);
      // It joins neither misc nor, in some versions, rdma.
      for (const [name, dir] of Object.entries(record.paths)) {
        if (name !== "misc" && name !== "rdma") expect(`${name} ${dir}`).toBe(`${name} ${seen[name]}`);
      }
      expect(Object.keys(seen).length).toBeGreaterThan(0);
    });
  }

  needs({ root: true, tsrun: true, cgroup: ["hybrid", "v2"] })(
    "a cgroup that was there before serves again and again",
    () => {
      const { unified } = detectCgroups();
      const name = newName();
      const dir = directoryOf(unified as NonNullable<typeof unified>, `/${name}`);
      mkdirSync(dir);
      try {
        const bundle = makeBundle({
          args: ["sleep", "1000"],
          edit: (spec) => {
            spec.linux.cgroupsPath = `/${name}`;
          },
        });
        for (const time of ["first", "second"]) {
          const id = newId();
          expect(spawnSync(RUNTIME, ["run", "-d", "-b", bundle.path, id], { stdio: "ignore" }).status, time).toBe(0);
          expect(run(["exec", id, "true"]), time).toMatchObject({ code: 0, stderr: "" });
          // By cgroup.kill.
          expect(run(["delete", "--force", id]).code, time).toBe(0);
          expect(existsSync(dir)).toBe(true);
        }
      } finally {
        rmdirSync(dir);
      }
    },
  );
});
