/** Cgroups that systemd makes: `--systemd-cgroup`, on each layout of a machine that runs systemd. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect } from "vitest";
import type { LinuxDevice, LinuxResources } from "../../../src/spec/types.ts";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { type Detached, runDetached } from "../../helpers/container.ts";
import { cgroupLayout, needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const FLAG = "--systemd-cgroup";
const isV2 = cgroupLayout() === "v2";
const ids: string[] = [];

afterEach(() => {
  for (const id of ids.splice(0)) run(["delete", "--force", id]);
});

interface Box {
  id: string;
  unit: string;
  made: Detached;
}

interface Asked {
  resources?: LinuxResources;
  devices?: LinuxDevice[];
  annotations?: Record<string, string>;
  slice?: string;
}

function bundleOf(args: string[], cgroupsPath: string, { resources, devices, annotations }: Asked = {}): Bundle {
  return makeBundle({
    args,
    edit: (spec) => {
      spec.linux.cgroupsPath = cgroupsPath;
      if (resources) spec.linux.resources = { ...spec.linux.resources, ...resources };
      if (devices) spec.linux.devices = devices;
      if (annotations) spec.annotations = annotations;
    },
  });
}

/** A container of a scope "box-ID.scope" that runs until it is killed. */
function start(asked: Asked = {}): Box {
  const id = newId();
  ids.push(id);
  const bundle = bundleOf(["sleep", "3600"], `${asked.slice ?? "system.slice"}:box:${id}`, asked);
  const made = runDetached([FLAG, "run", "-d", "-b", bundle.path, id]);
  return { id, unit: `box-${id}.scope`, made };
}

function started(asked: Asked = {}): Box {
  const box = start(asked);
  expect(box.made.stderr()).toBe("");
  expect(box.made.code).toBe(0);
  return box;
}

/** A property of a unit, as systemctl shows it. */
function show(unit: string, property: string): string {
  const { stdout } = spawnSync("systemctl", ["show", "--value", "-p", property, unit], { encoding: "utf8" });
  return stdout.trim();
}

function fileOf(unit: string, controller: string, file: string): string {
  const hierarchy = isV2 ? "" : `/${controller}`;
  return readFileSync(`/sys/fs/cgroup${hierarchy}${show(unit, "ControlGroup")}/${file}`, "utf8").trim();
}

function expectGone(unit: string): void {
  expect(show(unit, "LoadState")).toBe("not-found");
  // Neither a cgroup, nor a file of systemd's for what it was told.
  const found = spawnSync("find", ["/sys/fs/cgroup", "/run/systemd", "-name", `${unit}*`], { encoding: "utf8" });
  expect(found.stdout).toBe("");
}

const MEMORY = isV2
  ? { property: "MemoryMax", file: "memory.max" }
  : { property: "MemoryLimit", file: "memory.limit_in_bytes" };

describe("cgroups of systemd", () => {
  const systemd = needs({ root: true, systemd: true, tsrun: true });

  systemd("a container is a scope in the slice of cgroupsPath, with its limits as properties and as files", () => {
    const resources = {
      memory: { limit: 64 << 20 },
      pids: { limit: 20 },
      cpu: { shares: 512, quota: 50000, period: 100000 },
    };
    const { id, unit } = started({ resources, slice: "tsruntest-a.slice" });
    expect(show(unit, "Slice")).toBe("tsruntest-a.slice");
    expect(show(unit, "ControlGroup")).toBe(`/tsruntest.slice/tsruntest-a.slice/${unit}`);
    expect(show(unit, "Delegate")).toBe("yes");
    expect(show(unit, "TasksMax")).toBe("20");
    expect(show(unit, MEMORY.property)).toBe(String(64 << 20));
    expect(show(unit, "CPUQuotaPerSecUSec")).toBe("500ms");
    expect(fileOf(unit, "memory", MEMORY.file)).toBe(String(64 << 20));
    expect(fileOf(unit, "pids", "pids.max")).toBe("20");
    // The process is in it, in every hierarchy that has cgroups of containers.
    const own = readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8")
      .trim()
      .split("\n");
    expect(own.filter((line) => !line.endsWith(unit) && !/:(cpu,cpuacct|misc):/.test(line))).toEqual([]);
    expect(run(["exec", id, "sh", "-c", "exit 7"]).code).toBe(7);
    runOk(["delete", "--force", id]);
    expectGone(unit);
  });

  systemd("a container in the foreground gives its exit code, and its unit goes by itself", async () => {
    const id = newId();
    const bundle = bundleOf(["sh", "-c", "exit 5"], `system.slice:box:${id}`);
    expect(run([FLAG, "run", "-b", bundle.path, id])).toMatchObject({ code: 5, stderr: "" });
    expect(run(["state", id]).code).toBe(1);
    await until(() => show(`box-${id}.scope`, "LoadState") === "not-found", "the unit goes");
    expectGone(`box-${id}.scope`);
  });

  systemd("one name again and again: the end of the last one is waited for", () => {
    const id = newId();
    const bundle = bundleOf(["true"], `system.slice:box:${id}`);
    for (let i = 0; i < 5; i++) {
      expect(run([FLAG, "run", "-b", bundle.path, id])).toMatchObject({ code: 0, stderr: "" });
    }
  });

  systemd(
    "an update that systemd refuses, or that cannot be kept, leaves files and properties as they were",
    ({ skip }) => {
      skip(!isV2, "needs cgroup v2: of v1 there is no value that the kernel takes and systemd does not");
      const { id, unit } = started({ resources: { memory: { limit: 64 << 20 }, cpu: { shares: 512, cpus: "0" } } });
      const kept = readFileSync(`/run/tsrun/${id}/config.json`, "utf8");
      const files = ["memory.max", "memory.high", "cpu.weight", "cpu.max", "cpuset.cpus", "pids.max"];
      const properties = ["MemoryMax", "CPUWeight", "CPUQuotaPerSecUSec", "AllowedCPUs", "TasksMax"];
      const look = () => [files.map((file) => fileOf(unit, "", file)), properties.map((name) => show(unit, name))];
      const before = look();
      const asked = {
        memory: { limit: 96 << 20 },
        cpu: { shares: 2048, quota: 12345, cpus: "0-1" },
        pids: { limit: 44 },
      };
      // A limit of 0 that throttles the sleeping container not: it asks for no memory.
      const input = JSON.stringify({ ...asked, unified: { "memory.high": "0" } });
      const refused = run(["update", "--resources", "-", id], { input });
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/all limits are as before: systemd: SetUnitProperties: .*MemoryHigh/),
      });
      expect(look()).toEqual(before);
      expect(readFileSync(`/run/tsrun/${id}/config.json`, "utf8")).toBe(kept);
      // Systemd has taken them all when the config cannot be kept.
      const obstacle = `/run/tsrun/${id}/state.json.new`;
      mkdirSync(obstacle);
      const unkept = run(["update", "--resources", "-", id], { input: JSON.stringify(asked) });
      expect(unkept).toMatchObject({ code: 1, stderr: expect.stringContaining("all limits are as before: ") });
      expect(look()).toEqual(before);
      rmdirSync(obstacle);
      runOk(["update", "--resources", "-", id], { input: JSON.stringify(asked) });
      // Exact, and it stays so: systemd, which counts in hundredths of a CPU, has written its own before.
      expect(fileOf(unit, "", "cpu.max")).toBe("12345 100000");
      expect(spawnSync("systemctl", ["show", unit]).status).toBe(0);
      expect(fileOf(unit, "", "cpu.max")).toBe("12345 100000");
    },
  );

  systemd("update changes files and properties, so that a reload of systemd leaves the new limits", () => {
    const { id, unit } = started({ resources: { memory: { limit: 64 << 20 } } });
    runOk(["update", "--memory", String(96 << 20), "--pids-limit", "30", "--cpu-quota", "30000", id]);
    const check = () => {
      expect(fileOf(unit, "memory", MEMORY.file)).toBe(String(96 << 20));
      expect(fileOf(unit, "pids", "pids.max")).toBe("30");
      expect(fileOf(unit, "cpu", isV2 ? "cpu.max" : "cpu.cfs_quota_us")).toBe(isV2 ? "30000 100000" : "30000");
    };
    check();
    expect(show(unit, MEMORY.property)).toBe(String(96 << 20));
    expect(show(unit, "CPUQuotaPerSecUSec")).toBe("300ms");
    expect(spawnSync("systemctl", ["daemon-reload"]).status).toBe(0);
    check();
  });

  systemd("devices: what is allowed works and what is not does not, before and after a reload of systemd", () => {
    const rule = { allow: true, type: "c", major: 1, minor: 11, access: "rw" };
    const devices = [
      { path: "/dev/kmsg", type: "c", major: 1, minor: 11 },
      // No driver has it: who may open it gets ENODEV, who may not EPERM.
      { path: "/dev/odd", type: "c", major: 10, minor: 58 },
    ];
    const { id } = started({ devices, resources: { devices: [{ allow: false, access: "rwm" }, rule] } });
    const script = "for d in kmsg odd null; do (: >>/dev/$d) && echo $d; done 2>&1";
    const opened = () => run(["exec", id, "sh", "-c", script]).stdout.replace(/^sh: /gm, "");
    expect(opened()).toMatch(/^kmsg\n.*odd: Operation not permitted\nnull\n$/);
    expect(spawnSync("systemctl", ["daemon-reload"]).status).toBe(0);
    expect(opened()).toMatch(/^kmsg\n.*odd: Operation not permitted\nnull\n$/);
    runOk(["update", "--pids-limit", "50", id]);
    expect(opened()).toMatch(/^kmsg\n.*odd: Operation not permitted\nnull\n$/);
  });

  systemd("of 1600 rules that allow and deny by turns each one holds, also after systemd has written the unit", () => {
    const odd = (minor: number) => ({ path: `/dev/odd${minor}`, type: "c", major: 60, minor });
    const rules = Array.from({ length: 1600 }, (_, i) => ({ allow: i % 2 === 0, type: "c", major: 60, minor: i }));
    const devices = [odd(7), odd(800), odd(801), odd(1598)];
    const { id } = started({ devices, resources: { devices: [{ allow: false, access: "rwm" }, ...rules] } });
    const script = "for d in 7 800 801 1598; do (: </dev/odd$d); done 2>&1; : >/dev/null && echo null";
    const opened = () => run(["exec", id, "sh", "-c", script]).stdout;
    // No driver has them.
    const expected = /^.*7: Operation.*\n.*800: No such.*\n.*801: Operation.*\n.*1598: No such.*\nnull\n$/;
    expect(opened()).toMatch(expected);
    expect(spawnSync("systemctl", ["daemon-reload"]).status).toBe(0);
    expect(opened()).toMatch(expected);
    runOk(["update", "--pids-limit", "50", id]);
    expect(opened()).toMatch(expected);
  });

  systemd("whole majors that no driver has yet, and minors of all majors, are allowed whatever systemd writes", () => {
    // No driver has them: who may open one is told that it is not there.
    const numbers = { major: [60, 7], minor: [61, 77], neither: [61, 8] } as const;
    const devices = Object.entries(numbers).map(([name, [major, minor]]) => ({
      path: `/dev/${name}`,
      type: "c",
      major,
      minor,
    }));
    const rules = [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 60, access: "rw" },
      { allow: true, type: "c", minor: 77, access: "rw" },
    ];
    const { id, unit } = started({ devices, resources: { devices: rules } });
    const script = "for d in major minor neither null; do (: </dev/$d) && echo $d; done 2>&1";
    const opened = () => run(["exec", id, "sh", "-c", script]).stdout;
    const expected =
      /^.*major: No such device.*\n.*minor: No such device.*\n.*neither: Operation not permitted\nnull\n$/;
    expect(opened()).toMatch(expected);
    // A list of systemd's own is written at once on v1, and on v2 it would be a program of its own.
    const writes = [["set-property", "--runtime", unit, isV2 ? "TasksMax=77" : "DeviceAllow=/dev/tty rw"]];
    for (const command of [...writes, ["daemon-reload"]]) {
      expect(spawnSync("systemctl", command).status).toBe(0);
      expect(opened(), command[0]).toMatch(expected);
    }
    runOk(["update", "--pids-limit", "50", id]);
    expect(spawnSync("systemctl", ["daemon-reload"]).status).toBe(0);
    expect(opened(), "update and daemon-reload").toMatch(expected);
    runOk(["delete", "--force", id]);
    expectGone(unit);
  });

  systemd("everything but some devices stays so, whatever systemd does with the unit", () => {
    const devices = [
      { path: "/dev/kmsg", type: "c", major: 1, minor: 11 },
      // No driver has it.
      { path: "/dev/odd", type: "c", major: 10, minor: 58 },
    ];
    const rules = [
      { allow: true, access: "rwm" },
      { allow: false, type: "c", major: 1, minor: 11, access: "rw" },
    ];
    const { id, unit } = started({ devices, resources: { devices: rules } });
    const opened = () =>
      run(["exec", id, "sh", "-c", "for d in kmsg odd null; do (: </dev/$d) && echo $d; done 2>&1"]).stdout;
    const expected = /^.*kmsg: Operation not permitted\n.*odd: No such device.*\nnull\n$/;
    expect(opened()).toMatch(expected);
    for (const command of [["daemon-reload"], ["set-property", "--runtime", unit, "TasksMax=77"], ["daemon-reload"]]) {
      expect(spawnSync("systemctl", command).status).toBe(0);
      expect(opened(), command[0]).toMatch(expected);
    }
    runOk(["update", "--pids-limit", "50", id]);
    expect(opened()).toMatch(expected);
    runOk(["delete", "--force", id]);
    expectGone(unit);
  });

  systemd("a limit of one process has room for one", () => {
    const { id, unit } = started({ resources: { pids: { limit: 1 } } });
    expect(fileOf(unit, "pids", "pids.max")).toBe("1");
    expect(show(unit, "TasksMax")).toBe("1");
    expect(stateOf(id)?.status).toBe("running");
  });

  systemd("annotations are properties of the unit; wrong ones are all told of, and nothing is made", () => {
    const annotations = {
      "org.systemd.property.TimeoutStopSec": "6",
      "org.systemd.property.CollectMode": "'inactive'",
      "org.systemd.property.CPUWeight": "uint64 77",
    };
    const { unit } = started({ annotations });
    expect(show(unit, "TimeoutStopUSec")).toBe("6s");
    expect(show(unit, "CollectMode")).toBe("inactive");
    expect(show(unit, "CPUWeight")).toBe("77");
    const wrong = {
      "org.systemd.property.TimeoutStopSec": "'six'",
      "org.systemd.property.CPUWeight": "uint64",
    };
    const refused = start({ annotations: wrong });
    expect(refused.made.code).toBe(1);
    expect(refused.made.stderr()).toContain("TimeoutStopSec");
    expect(refused.made.stderr()).toContain("CPUWeight");
    const unknown = { "org.systemd.property.NoSuchThing": "true" };
    const bad = start({ annotations: unknown });
    expect(bad.made.stderr()).toMatch(/systemd: StartTransientUnit: .*NoSuchThing/);
    expectGone(bad.unit);
    expect(run(["state", bad.id]).code).toBe(1);
  });

  systemd("a path of another form is refused with the form that is expected", () => {
    const bundle = bundleOf(["true"], "/a/b");
    const result = run([FLAG, "run", "-b", bundle.path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('expected cgroupsPath to be of format "slice:prefix:name"');
  });

  systemd("a unit with processes is joined with a warning, and its end is not the container's to decide", () => {
    const first = started();
    const second = newId();
    ids.push(second);
    const bundle = bundleOf(["sleep", "3600"], `system.slice:box:${first.id}`);
    const made = runDetached([FLAG, "run", "-d", "-b", bundle.path, second]);
    expect(made.stderr()).toContain("container's cgroup is not empty: 1 process(es) found");
    expect(readFileSync(`/proc/${stateOf(second)?.pid}/cgroup`, "utf8")).toContain(first.unit);
    runOk(["delete", "--force", second]);
    expect(stateOf(first.id)?.status).toBe("running");
    expect(show(first.unit, "ActiveState")).toBe("active");
  });

  systemd("a frozen cgroup of the unit's name is refused, and is left", () => {
    const id = newId();
    const top = isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/freezer";
    const dir = `${top}/system.slice/box-${id}.scope`;
    mkdirSync(dir, { recursive: true });
    writeFileSync(`${dir}/${isV2 ? "cgroup.freeze" : "freezer.state"}`, isV2 ? "1" : "FROZEN");
    const bundle = bundleOf(["true"], `system.slice:box:${id}`);
    const result = run([FLAG, "run", "-b", bundle.path, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("container's cgroup unexpectedly frozen");
    rmdirSync(dir);
  });

  systemd("a container of a slice of its own", () => {
    const id = newId();
    ids.push(id);
    const bundle = bundleOf(["sleep", "9"], `::tsruntest-${id.replaceAll("-", "_")}.slice`);
    const made = runDetached([FLAG, "run", "-d", "-b", bundle.path, id]);
    expect(made.stderr()).toBe("");
    const unit = `tsruntest-${id.replaceAll("-", "_")}.slice`;
    expect(show(unit, "ActiveState")).toBe("active");
    expect(readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8")).toContain(`/${unit}`);
    runOk(["delete", "--force", id]);
    expect(show(unit, "ActiveState")).toBe("inactive");
  });

  systemd("without the manager's own socket it is asked by the bus", () => {
    const id = newId();
    ids.push(id);
    const bundle = bundleOf(["sleep", "3600"], `system.slice:box:${id}`);
    const out = without(["/run/systemd/private"], `${RUNTIME} ${FLAG} run -d -b ${bundle.path} ${id}`);
    expect(out).toEqual({ stderr: "", status: 0 });
    expect(show(`box-${id}.scope`, "ActiveState")).toBe("active");
    expect(without(["/run/systemd/private"], `${RUNTIME} delete -f ${id}`)).toEqual({ stderr: "", status: 0 });
    expectGone(`box-${id}.scope`);
  });

  systemd("with systemd out of reach nothing is made, and delete --force ends what there is", async () => {
    const sockets = ["/run/systemd/private", "/run/dbus/system_bus_socket"];
    const { id, unit } = started();
    const other = newId();
    const bundle = bundleOf(["true"], `system.slice:box:${other}`);
    const refused = without(sockets, `${RUNTIME} ${FLAG} run -b ${bundle.path} ${other}`);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("no systemd is to be reached");
    expect(run(["state", other]).code).toBe(1);
    const pid = stateOf(id)?.pid;
    expect(without(sockets, `${RUNTIME} delete -f ${id}`)).toEqual({ stderr: "", status: 0 });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    // It hears of the end from the kernel.
    await until(() => show(unit, "LoadState") === "not-found", "the unit goes");
  });

  systemd(
    "killed at any moment, a runtime leaves no unit that delete --force does not remove",
    async () => {
      for (let round = 0; round < 12; round++) {
        const id = newId();
        const bundle = bundleOf(["sleep", "3600"], `system.slice:box:${id}`);
        const child = spawn(RUNTIME, [FLAG, "create", "-b", bundle.path, id], { stdio: "ignore" });
        await killAfter(child, round * 12);
        run(["delete", "--force", id]);
        expectGone(`box-${id}.scope`);
        expect(existsSync(`/run/tsrun/${id}`)).toBe(false);
      }
    },
    120_000,
  );
});

/** A command in a mount namespace where these sockets are none. What it writes goes to a file: a container may outlive it. */
function without(sockets: string[], command: string): { status: number | null; stderr: string } {
  const masks = sockets.map((path) => `mount --bind /dev/null ${path} && `).join("");
  const output = join(scratch("output"), "stderr");
  const script = `${masks} ${command} >/dev/null </dev/null 2>${output}`;
  const { status } = spawnSync("unshare", ["--mount", "sh", "-c", script], { stdio: "ignore" });
  return { status, stderr: existsSync(output) ? readFileSync(output, "utf8") : "the sockets could not be masked" };
}

function killAfter(child: ChildProcess, ms: number): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    setTimeout(() => child.kill("SIGKILL"), ms);
  });
}
