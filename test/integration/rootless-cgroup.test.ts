/** Limits of an ordinary user: in cgroups that were given to him. What they do is in cgroup/modes. Rules: kernel cgroup-v2.rst "Delegation". */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { LinuxResources } from "../../src/spec/types.ts";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import { OrdinaryUser, type Output, UID } from "../helpers/ordinary-user.ts";
import { expectNothingLeft, inventory, type Leftovers, newId, RUNTIME } from "../helpers/runtime.ts";
import { scratch, TEST_PREFIX } from "../helpers/scratch.ts";

const wanted = { root: true, tsrun: true, commands: ["setpriv", "unshare"] };
const v2 = needs({ ...wanted, cgroup: "v2", controllers: ["memory", "pids", "cpu"] });
const anyLayout = needs({ ...wanted, cgroup: ["v1", "v2"] });
const hybrid = needs({ ...wanted, cgroup: "hybrid" });
const systemd = needs({ ...wanted, cgroup: "v2", systemd: true, commands: ["as-user"] });

/** Below each hierarchy; the user's script runs in `own` below it. */
const NAME = `${TEST_PREFIX}-user`;
const TOPS = cgroupLayout() === "v2" ? ["/sys/fs/cgroup"] : ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"];

let before: Leftovers;
let user: OrdinaryUser;
beforeAll(() => {
  before = inventory();
  user = new OrdinaryUser();
});
afterAll(() => {
  const others = readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`);
  for (const top of [...TOPS, ...others]) {
    for (const dir of [`${top}/${NAME}/own`, `${top}/${NAME}/given`, `${top}/${NAME}`])
      if (existsSync(dir)) spawnSync("rmdir", [dir]);
  }
  expectNothingLeft(before);
});

/** A shell script of the user in a cgroup of his, with all controllers that there are handed down to it. */
function delegated(script: string): Output {
  const steps = TOPS.map(
    (top) => `d=${top}/${NAME}; mkdir -p $d/own
      if [ -e ${top}/cgroup.controllers ]; then for c in cpu memory pids; do
        echo +$c > ${top}/cgroup.subtree_control; done; fi
      chown -R ${UID}:${UID} $d; echo $$ > $d/own/cgroup.procs`,
  );
  return user.run(script, steps.join("\n"));
}

function bundleOf(script: string, resources: LinuxResources, edit?: (spec: FullSpec) => void): string {
  const bundle = makeBundle({
    args: ["sh", "-c", script],
    rootless: true,
    edit: (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      spec.linux.resources = resources;
      edit?.(spec);
    },
  });
  user.give(bundle.path);
  return bundle.path;
}

const MEGABYTE = 2 ** 20;

describe("a delegated cgroup", () => {
  v2("limits are set, met, changed and shown; exec joins; delete takes the cgroup away", () => {
    const id = newId();
    const bundle = bundleOf("echo ready; exec sleep 3600", {
      memory: { limit: 64 * MEGABYTE },
      pids: { limit: 20 },
      cpu: { quota: 50000, period: 100000 },
    });
    const { stdout, stderr, status } = delegated(`
      out() { cat /sys/fs/cgroup/${NAME}/${id}/$1; }
      $R run -d -b ${bundle} ${id} < /dev/null > ${user.home}/out || exit 1
      out memory.max; out pids.max; out cpu.max
      $R update --pids-limit 7 ${id} && out pids.max
      $R exec ${id} cat /proc/self/cgroup
      $R events --stats ${id} | grep -o '"limit":7'
      $R pause ${id} && $R state ${id} | grep -o '"status": "[a-z]*"' && $R resume ${id}
      $R kill ${id} KILL
      until $R state ${id} | grep -q stopped; do sleep 0.05; done
      $R delete ${id}
      ls -d /sys/fs/cgroup/${NAME}/*/`);
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual([
      String(64 * MEGABYTE),
      "20",
      "50000 100000",
      "7",
      `0::/${NAME}/${id}`,
      '"limit":7',
      '"status": "paused"',
      `/sys/fs/cgroup/${NAME}/own/`,
    ]);
    expect(status).toBe(0);
  });

  v2("with a cgroup namespace of its own it is the root of what the container sees", () => {
    const bundle = bundleOf("cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max", { pids: { limit: 9 } }, (spec) => {
      spec.linux.namespaces = [...(spec.linux.namespaces ?? []), { type: "cgroup" }];
      // The host's /sys is bound there, and the cgroups on top of it.
      spec.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup2", source: "cgroup2", options: ["ro"] });
    });
    const { stdout, stderr } = delegated(`$R run -b ${bundle} ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout).toBe("0::/\n9\n");
  });

  /** A container in a cgroup that is asked for by name, below one that the user has in some hierarchies. */
  function namedCgroup(tops: string): Output {
    const id = newId();
    const bundle = bundleOf("grep -c ':/$' /proc/self/cgroup; grep -o '^0:.*' /proc/self/cgroup", {}, (spec) => {
      spec.linux.cgroupsPath = `/${NAME}/${id}`;
    });
    return user.run(
      `$R run -b ${bundle} ${id}; s=$?; ls -d /sys/fs/cgroup/*/${NAME}/${id} 2>/dev/null; exit $s`,
      `for top in ${tops}; do mkdir -p $top/${NAME}; chown -R ${UID}:${UID} $top/${NAME}; done`,
    );
  }

  hybrid("the v2 hierarchy beside those of v1 is left out where the user may make nothing in it", () => {
    expect(namedCgroup("/sys/fs/cgroup/[!u]*/")).toEqual(
      expect.objectContaining({ status: 0, stdout: "1\n0::/\n", stderr: "" }),
    );
  });

  hybrid("it is left out where no process may be moved there", () => {
    expect(namedCgroup("/sys/fs/cgroup/*/")).toEqual(
      expect.objectContaining({ status: 0, stdout: "1\n0::/\n", stderr: "" }),
    );
  });

  anyLayout(
    "one in which the user may have processes and write nothing else: kill and delete end what is in it",
    () => {
      const bundle = bundleOf("sleep 3600 & exec sleep 3600", {}, (spec) => {
        spec.linux.cgroupsPath = `/${NAME}/given`;
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
        // Without a pid namespace of its own there is no proc for it.
        spec.mounts = spec.mounts.map((mount) =>
          mount.type === "proc" ? { ...mount, type: "bind", source: "/proc", options: ["rbind"] } : mount,
        );
      });
      const [killed, deleted] = [newId(), newId()];
      const files = "cgroup.procs cgroup.threads cgroup.subtree_control tasks";
      const tops = cgroupLayout() === "v2" ? "/sys/fs/cgroup" : "/sys/fs/cgroup/*";
      const { status, stdout, stderr } = user.run(
        `start() { $R run -d -b ${bundle} $1 < /dev/null > ${user.home}/out || exit 1; }
      start ${killed}; $R events --type exit --type oom ${killed} > ${user.home}/events 2>&1 & events=$!
      until [ -e ${user.home}/run/tsrun/${killed}/exit ]; do kill -0 $events || exit 5; sleep 0.05; done
      $R kill --all ${killed} KILL || exit 2
      wait $events; grep -o '"type":"exit"' ${user.home}/events
      until $R state ${killed} | grep -q stopped; do sleep 0.05; done
      $R delete ${killed} || exit 3
      start ${deleted}; $R delete --force ${deleted} || exit 4
      cat /sys/fs/cgroup/${NAME}/given/cgroup.procs /sys/fs/cgroup/*/${NAME}/given/cgroup.procs 2>/dev/null; exit 0`,
        `for top in ${tops}; do
        [ -e $top/cgroup.procs ] || continue
        mkdir -p $top/${NAME}/given
        for d in $top/${NAME} $top/${NAME}/given; do
          for f in cpus mems; do [ ! -e $d/tasks -o ! -e $d/cpuset.$f ] || cat $top/cpuset.$f > $d/cpuset.$f; done
          chown ${UID} $d; for f in ${files}; do [ ! -e $d/$f ] || chown ${UID} $d/$f; done
        done
        [ -e $top/tasks ] || { mkdir -p $top/${NAME}/own; chown ${UID} $top/${NAME}/own; echo $$ > $top/${NAME}/own/cgroup.procs; }
      done`,
      );
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '"type":"exit"\n', stderr: "" });
    },
  );

  anyLayout("a cgroup that is asked for and not the user's to make is refused in runc's words", () => {
    const bundle = bundleOf("true", {}, (spec) => {
      spec.linux.cgroupsPath = `/${TEST_PREFIX}-another/${newId()}`;
    });
    const { status, stderr } = user.run(`$R run -b ${bundle} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/unable to apply cgroup configuration: mkdir .*: permission denied\n {2}fix: delegate/);
  });

  v2("doctor finds the controllers that were handed down, and hands none down itself", () => {
    const { stdout, status } = delegated(
      `$R doctor --json; cat /sys/fs/cgroup/${NAME}/cgroup.subtree_control >&2; ls -d /sys/fs/cgroup/${NAME}/*/ >&2`,
    );
    expect(status).toBe(0);
    const { checks } = JSON.parse(stdout) as { checks: { name: string; detail: string }[] };
    expect(checks.find(({ name }) => name === "cgroup")?.detail).toBe("v2; containers get their own");
    const controllers = checks.find(({ name }) => name === "cgroup controllers")?.detail.split(";")[0] ?? "";
    expect(controllers.split(" ")).toEqual(expect.arrayContaining(["cpu", "memory", "pids"]));
  });

  systemd("the scope that systemd --user gives away is one", () => {
    const dir = scratch("scope");
    const bundle = bundleOf("echo limited", { pids: { limit: 11 } }, (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
    });
    spawnSync("chown", ["-R", "1000:1000", bundle, dir]);
    // The container's cgroup is beside the one of the shell: that is made first, as a scope's own may have no processes.
    const script = `c=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $c/own; echo $$ > $c/own/cgroup.procs
      ${RUNTIME} --root ${dir}/run run -d -b ${bundle} scope </dev/null >${dir}/out
      cat $c/scope/pids.max; ${RUNTIME} --root ${dir}/run delete -f scope; ls -d $c/*/ | wc -l`;
    const { stdout, stderr } = spawnSync("as-user", ["sh", "-c", script], { encoding: "utf8", timeout: 300_000 });
    expect(stderr).toBe("");
    expect(stdout).toBe("11\n1\n");
    expect(readdirSync(join(dir, "run"))).toEqual([]);
  });

  systemd("--systemd-cgroup asks the user's own manager for a scope, with its limits", () => {
    const dir = scratch("scope");
    const id = newId();
    const bundle = bundleOf("exec sleep 3600", { pids: { limit: 11 }, memory: { limit: 64 * MEGABYTE } }, (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.cgroupsPath = `:box:${id}`;
    });
    spawnSync("chown", ["-R", "1000:1000", bundle, dir]);
    const script = `R="${RUNTIME} --systemd-cgroup --root ${dir}/run"; U=box-${id}.scope
      show() { systemctl --user show --value -p $1 $U; }
      $R run -d -b ${bundle} ${id} </dev/null >${dir}/out 2>&1 || cat ${dir}/out
      show TasksMax; show MemoryMax; cat /sys/fs/cgroup$(show ControlGroup)/pids.max
      show ControlGroup | grep -o "user@1000.service/user.slice/$U"
      $R update --pids-limit 12 ${id}; show TasksMax; $R exec ${id} echo in
      $R delete -f ${id}; show LoadState
      $R run -b ${bundle} --pid-file ${dir}/pid ${id} & n=0
      until [ -s ${dir}/pid ] || [ $n = 300 ]; do sleep 0.1; n=$((n+1)); done
      $R kill ${id} KILL; wait $!; echo $?`;
    const { stdout, stderr } = spawnSync("as-user", ["sh", "-c", script], { encoding: "utf8", timeout: 300_000 });
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual([
      "11",
      String(64 * MEGABYTE),
      "11",
      `user@1000.service/user.slice/box-${id}.scope`,
      "12",
      "in",
      "not-found",
      "137",
    ]);
    expect(readdirSync(join(dir, "run"))).toEqual([]);
  });

  systemd("a reload of the user's manager leaves limits, devices and later changes as they are", () => {
    const dir = scratch("scope");
    const id = newId();
    const resources = {
      pids: { limit: 11 },
      memory: { limit: 64 * MEGABYTE },
      cpu: { quota: 33_333, period: 100_000, shares: 512 },
    };
    const bundle = bundleOf("exec sleep 3600", resources, (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 1000, size: 1 }];
      spec.linux.cgroupsPath = `:box:${id}`;
    });
    spawnSync("chown", ["-R", "1000:1000", bundle, dir]);
    const script = `R="${RUNTIME} --systemd-cgroup --root ${dir}/run"; U=box-${id}.scope
      $R run -d -b ${bundle} ${id} </dev/null >${dir}/out 2>&1 || cat ${dir}/out
      C=/sys/fs/cgroup$(systemctl --user show --value -p ControlGroup $U)
      look() { (cd $C && echo $(cat pids.max memory.max cpu.max cpu.weight)); }
      use() { $R exec ${id} sh -c 'head -c 3 /dev/zero | wc -c; echo x >/dev/null && echo written'; }
      look; systemctl --user daemon-reload; look; use
      $R update --pids-limit 12 --memory ${96 * MEGABYTE} ${id}; systemctl --user daemon-reload; look; use
      $R delete -f ${id}; systemctl --user show --value -p LoadState $U
      systemctl --user daemon-reload; systemctl --user show --value -p LoadState $U; ls -d $C 2>&1`;
    const { stdout, stderr } = spawnSync("as-user", ["sh", "-c", script], { encoding: "utf8", timeout: 300_000 });
    expect(stderr).toBe("");
    const [before, reloaded, , , updated, , , gone, still, cgroup] = stdout.trim().split("\n");
    expect(before).toMatch(new RegExp(`^11 ${64 * MEGABYTE} 33333 100000 \\d+$`));
    // systemd counts a quota in hundredths of a CPU.
    expect(reloaded).toMatch(/ 3(3333|4000) 100000 /);
    expect(reloaded?.replace(" 34000 ", " 33333 ")).toBe(before);
    expect(updated?.replace(" 34000 ", " 33333 ")).toBe(before?.replace(/^11 \d+/, `12 ${96 * MEGABYTE}`));
    expect(stdout.match(/^3\nwritten$/gm)).toHaveLength(2);
    expect([gone, still]).toEqual(["not-found", "not-found"]);
    expect(cgroup).toMatch(/No such file/);
    expect(readdirSync(join(dir, "run"))).toEqual([]);
  });
});
