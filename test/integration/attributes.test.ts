/** What a process is beside its ids: CPUs, scheduler, I/O priority, memory policy, personality, clocks, labels. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, newId, RUNTIME, run, runBundle } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true, files: ["/bin/busybox"] });
const own = needs({ root: true, tsrun: true, files: ["/bin/busybox"] });
afterAll(deleteContainers);

const stdout = (script: string, edit: (spec: FullSpec) => void) =>
  runBundle(makeBundle({ args: ["sh", "-c", script], edit }));
/** Fields of proc_pid_stat(5), counted from 1. */
const field = (stat: string, number: number) => stat.slice(stat.lastIndexOf(")") + 2).split(" ")[number - 3];

describe("process attributes", () => {
  own("a container may use every CPU of its cgroup though its caller may not", () => {
    const bundle = makeBundle({ args: ["grep", "Cpus_allowed_list", "/proc/self/status"] });
    const bound = spawnSync("taskset", ["-c", "0", RUNTIME, "run", "-b", bundle.path, newId()], { encoding: "utf8" });
    const free = runBundle(bundle);
    expect(bound.stderr).toBe("");
    expect(bound.stdout).toBe(free.stdout);
  });

  own("exec runs on the CPUs of execCPUAffinity, and on all without one", () => {
    const bundle = sleepingBundle();
    bundle.edit((spec) => {
      spec.process.execCPUAffinity = { initial: "0", final: "0" };
    });
    const { id } = startContainer(bundle);
    expect(run(["exec", id, "grep", "Cpus_allowed_list", "/proc/self/status"]).stdout).toBe("Cpus_allowed_list:\t0\n");
  });

  own("exec without final CPUs runs on all of the container, wherever it has begun", () => {
    const bundle = sleepingBundle();
    bundle.edit((spec) => {
      spec.process.execCPUAffinity = { initial: "0" };
    });
    const { id } = startContainer(bundle);
    const allowed = (pid: string) => run(["exec", id, "grep", "Cpus_allowed_list", `/proc/${pid}/status`]).stdout;
    expect(allowed("self")).toBe(allowed("1"));
  });

  root("scheduler: policy, priority and nice are those of the config", () => {
    const batch = stdout("cat /proc/self/stat", (spec) => {
      spec.process.scheduler = { policy: "SCHED_BATCH", nice: 5 };
    });
    expect(batch.stderr).toBe("");
    expect([field(batch.stdout, 41), field(batch.stdout, 19)]).toEqual(["3", "5"]);
  });

  root("ioPriority is that of the config", () => {
    const result = stdout("ionice -p 1 2>/dev/null || ionice", (spec) => {
      spec.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 6 };
    });
    expect(result.stdout).toMatch(/best-effort: prio 6/);
  });

  needs({ root: true, files: ["/proc/self/numa_maps"] })("memoryPolicy is that of the config", () => {
    const result = stdout("cat /proc/self/numa_maps", (spec) => {
      spec.linux.memoryPolicy = { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] };
    });
    expect(result.stderr).toBe("");
    expect(result.stdout).toMatch(/ bind=static:0 /);
  });

  needs({ root: true, tsrun: true, files: ["/proc/self/numa_maps"] })(
    "memoryPolicy is that of what exec runs, too",
    () => {
      const bundle = sleepingBundle();
      bundle.edit((spec) => {
        spec.linux.memoryPolicy = { mode: "MPOL_PREFERRED", nodes: "0", flags: ["MPOL_F_RELATIVE_NODES"] };
      });
      const { id } = startContainer(bundle);
      expect(run(["exec", id, "cat", "/proc/self/numa_maps"]).stdout).toMatch(/ prefer=relative:0 /);
    },
  );

  root("personality LINUX32 shows in uname", () => {
    const result = stdout("uname -m", (spec) => {
      spec.linux.personality = { domain: "LINUX32" };
    });
    expect(result.stdout.trim()).toMatch(process.arch === "arm64" ? /^armv8l$/ : /^i686$/);
    const usual = stdout("uname -m", () => {});
    expect(usual.stdout.trim()).toMatch(/^(x86_64|aarch64)$/);
  });

  needs({ root: true, files: ["/proc/self/timens_offsets"] })(
    "timeOffsets move the clocks of a new time namespace",
    () => {
      const bundle = makeBundle({
        args: ["cat", "/proc/uptime", "/proc/self/timens_offsets"],
        edit: (spec) => {
          spec.linux.namespaces?.push({ type: "time" });
          spec.linux.timeOffsets = { boottime: { secs: 1_000_000, nanosecs: 0 }, monotonic: { secs: 5, nanosecs: 7 } };
        },
      });
      const result = runBundle(bundle);
      expect(result.stderr).toBe("");
      const here = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
      expect(Number(result.stdout.split(" ")[0])).toBeGreaterThan(here + 999_000);
      expect(result.stdout.replace(/ +/g, " ")).toContain("monotonic 5 7");
    },
  );

  own("a label is refused where its security module is not there", () => {
    const bundle = makeBundle({
      edit: (spec) => {
        spec.process.selinuxLabel = "system_u:system_r:container_t:s0";
      },
    });
    const result = runBundle(bundle);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("process.selinuxLabel: SELinux is disabled"),
    });
  });

  const apparmor = needs({ root: true, tsrun: true, files: ["/sys/kernel/security/apparmor/profiles"] });
  const profile = `profile tsrun-test flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  network,
  unix,
  deny /denied rw,
}
`;
  function load(): void {
    const file = join(scratch("apparmor"), "profile");
    writeFileSync(file, profile);
    const result = spawnSync("apparmor_parser", ["-r", "-K", file], { encoding: "utf8" });
    expect(result.stderr).toBe("");
  }

  apparmor("the process has its AppArmor profile, with no_new_privs too, and exec another", () => {
    load();
    const script = "cat /proc/self/attr/apparmor/current; echo x > /denied || echo denied";
    for (const noNewPrivileges of [false, true]) {
      const result = stdout(script, (spec) => {
        spec.process.apparmorProfile = "tsrun-test";
        spec.process.noNewPrivileges = noNewPrivileges;
      });
      expect(result.stderr).not.toContain("tsrun:");
      expect(result.stdout).toBe("tsrun-test (enforce)\ndenied\n");
    }
    const { id } = startContainer(sleepingBundle());
    expect(run(["exec", "--apparmor", "tsrun-test", id, "cat", "/proc/self/attr/apparmor/current"]).stdout).toBe(
      "tsrun-test (enforce)\n",
    );
  });

  apparmor("under a profile that forbids mounts tsrun names it, and doctor says what does not work", () => {
    const file = join(scratch("apparmor"), "outer");
    writeFileSync(
      file,
      `profile tsrun-outer flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  network,
  unix,
  ptrace,
  capability,
}
`,
    );
    expect(spawnSync("apparmor_parser", ["-r", "-K", file], { encoding: "utf8" }).stderr).toBe("");
    const confined = (...args: string[]) =>
      run(["-c", 'echo "exec tsrun-outer" > /proc/self/attr/apparmor/exec && exec "$@"', "sh", RUNTIME, ...args], {
        runtime: "/bin/sh",
      });
    const { code, stderr } = confined("run", "-b", makeBundle().path, newId());
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^tsrun: run .*: E(ACCES|PERM) .*\n {2}fix: this process is under the AppArmor profile tsrun-outer, which may/,
      ),
    });
    // Which of them is asked about first depends on the kernel.
    expect(confined("doctor").stdout).toMatch(/^(missing|limited) +(mount proc|pivot_root) .*E(ACCES|PERM)/m);
  });

  apparmor("a profile that is not loaded is named, and is no missing command", () => {
    const result = stdout("true", (spec) => {
      spec.process.apparmorProfile = "tsrun-nosuch";
    });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("process.apparmorProfile");
    expect(result.stderr).toContain("tsrun-nosuch");
    expect(result.stderr.toLowerCase()).not.toContain("no such file or directory");
  });

  apparmor("the profile is written to the real procfs, whatever is mounted on /proc", () => {
    load();
    const fake = scratch("fake");
    const bundle = makeBundle({
      args: ["cat", "/real/self/attr/apparmor/current"],
      edit: (spec) => {
        spec.process.apparmorProfile = "tsrun-test";
        spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/proc");
        spec.mounts.unshift(
          { destination: "/proc", type: "bind", source: fake, options: ["bind"] },
          { destination: "/real", type: "proc", source: "proc" },
        );
        spec.linux.maskedPaths = [];
        spec.linux.readonlyPaths = [];
      },
    });
    expect(runBundle(bundle)).toMatchObject({ stdout: "tsrun-test (enforce)\n", stderr: "" });
  });
});
