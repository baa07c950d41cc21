/** Hooks: when, where, with what, and what becomes of a container when one fails. OCI config.md "Hooks". */
import { chmodSync, existsSync, mkdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import type { Hooks } from "../../src/spec/types.ts";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { createContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, run, runBundle, runOk, spawn, stateOf } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true, files: ["/bin/busybox"] });
const STAGES = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] as const;

/** A bundle whose hooks run `script` in a shell, with $1 the stage. */
function hooked(stages: readonly (keyof Hooks)[], script: string, args = ["true"], more: object = {}): Bundle {
  return makeBundle({
    args,
    edit: (spec) => {
      spec.hooks = Object.fromEntries(
        stages.map((stage) => [stage, [{ path: "/bin/sh", args: ["sh", "-c", script, "sh", stage], ...more }]]),
      );
    },
  });
}

const lines = (file: string) => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);

describe("hooks", () => {
  root("all six kinds run in the order of the life cycle", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(
      STAGES.filter((stage) => stage !== "startContainer"),
      `echo $1 >> ${log}`,
    );
    // This one has the container's root: what it writes is in the rootfs.
    bundle.edit((spec) => {
      spec.hooks = { ...spec.hooks, startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "echo started > /log"] }] };
      spec.process.args = ["cat", "/log"];
    });
    const result = runBundle(bundle);
    expect(result).toMatchObject({ code: 0, stdout: "started\n", stderr: "" });
    expect(lines(log)).toEqual(["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
  });

  root("create runs those before the start, start those around it, delete those after the end", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(STAGES, `test -d ${scratch("seen")} && echo $1 >> ${log}; true`, ["sleep", "1000"]);
    const { id } = createContainer(bundle);
    expect(lines(log)).toEqual(["prestart", "createRuntime", "createContainer"]);
    runOk(["start", id]);
    expect(lines(log).slice(3)).toEqual(["poststart"]);
    runOk(["delete", "--force", id]);
    expect(lines(log).slice(4)).toEqual(["poststop"]);
  });

  needs({ root: true, tsrun: true })("what they print is added to the files that crun's annotations name", () => {
    const dir = scratch("hooks");
    const bundle = hooked(
      STAGES.filter((stage) => stage !== "poststart"),
      "echo $1; echo of $1 >&2",
    );
    bundle.edit((spec) => {
      spec.annotations = { "run.oci.hooks.stdout": `${dir}/out`, "run.oci.hooks.stderr": `${dir}/err` };
    });
    writeFileSync(`${dir}/out`, "before\n");
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "", stderr: "" });
    const stages = ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"];
    expect(lines(`${dir}/out`)).toEqual(["before", ...stages]);
    expect(lines(`${dir}/err`)).toEqual(stages.map((stage) => `of ${stage}`));
    bundle.edit((spec) => {
      spec.annotations = { "run.oci.hooks.stdout": "/nowhere/out" };
    });
    const failed = runBundle(bundle);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("open /nowhere/out: ENOENT");
  });

  root("a hook has the state on standard input, with the status of its stage", () => {
    const directory = scratch("hooks");
    const bundle = hooked(
      ["prestart", "createRuntime", "createContainer", "poststart", "poststop"],
      `cat > ${directory}/$1`,
      ["sleep", "1000"],
    );
    bundle.edit((spec) => {
      spec.annotations = { "org.example": "yes" };
    });
    const { id } = createContainer(bundle);
    const pid = stateOf(id)?.pid;
    runOk(["start", id]);
    runOk(["delete", "--force", id]);
    const state = (stage: string) => JSON.parse(readFileSync(join(directory, stage), "utf8"));
    const common = {
      ociVersion: bundle.spec.ociVersion,
      id,
      bundle: bundle.path,
      annotations: { "org.example": "yes" },
    };
    for (const stage of ["prestart", "createRuntime", "createContainer"]) {
      expect(state(stage)).toEqual({ ...common, status: "creating", pid });
    }
    expect(state("poststart")).toEqual({ ...common, status: "running", pid });
    expect(state("poststop")).toEqual({ ...common, status: "stopped" });
  });

  root("a hook can ask for the state of its container", () => {
    const out = join(scratch("hooks"), "out");
    const id = newId();
    const bundle = hooked(
      ["createRuntime"],
      `${process.env.TSRUN ?? join(process.cwd(), "dist/tsrun")} state ${id} > ${out}`,
    );
    runOk(["run", "-b", bundle.path, id]);
    expect(JSON.parse(readFileSync(out, "utf8"))).toMatchObject({ id, status: "creating" });
  });

  root("namespaces are there before the first hook; createContainer is in them, createRuntime is not", () => {
    const out = scratch("hooks");
    const script = `for n in mnt uts net ipc; do readlink /proc/self/ns/$n; done > ${out}/$1;
      pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); for n in mnt uts net ipc; do readlink /proc/$pid/ns/$n; done > ${out}/$1.container`;
    const result = runBundle(hooked(["createRuntime", "createContainer"], script));
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const own = ["mnt", "uts", "net", "ipc"].map((name) => readlinkSync(`/proc/self/ns/${name}`));
    expect(lines(`${out}/createRuntime`)).toEqual(own);
    expect(lines(`${out}/createContainer`)).toEqual(lines(`${out}/createContainer.container`));
    for (const [i, name] of lines(`${out}/createContainer`).entries()) expect(name).not.toBe(own[i]);
  });

  root("createContainer finds the mounts of the container at the path of its root, and adds to them", () => {
    const bundle = makeBundle({ args: ["cat", "/added/file"] });
    const source = scratch("added");
    writeFileSync(join(source, "file"), "from a hook\n");
    mkdirSync(join(bundle.rootfs, "added"));
    bundle.edit((spec) => {
      const script = `test -e ${bundle.rootfs}/proc/self && mount --bind ${source} ${bundle.rootfs}/added`;
      spec.hooks = { createContainer: [{ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/usr/bin:/bin"] }] };
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "from a hook\n", stderr: "" });
  });

  root("createContainer begins in the root of the container: a relative path is none of the host's", () => {
    const bundle = makeBundle({
      args: ["cat", "/made"],
      edit: (spec) => {
        const script = "pwd > ./made; test -x ./bin/busybox";
        spec.hooks = { createContainer: [{ path: "/bin/sh", args: ["sh", "-c", script] }] };
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: `${bundle.rootfs}\n`, stderr: "" });
  });

  root("startContainer hooks run under the seccomp filter of the container", () => {
    const bundle = makeBundle({
      edit: (spec) => {
        const syscalls = [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL" }];
        spec.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls };
        spec.hooks = {
          startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "exec mkdir /tmp/x"], env: ["PATH=/bin"] }],
        };
      },
    });
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(
      "error running hook: hooks.startContainer[0] /bin/sh: killed by SIGSYS (bad system call)",
    );
  });

  root("startContainer runs in the pid namespace of the container", () => {
    const bundle = makeBundle({
      args: ["cat", "/out"],
      edit: (spec) => {
        const script = "readlink /proc/self/ns/pid > /out; readlink /proc/1/ns/pid >> /out; hostname >> /out";
        spec.hostname = "hooked";
        spec.hooks = { startContainer: [{ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/bin"] }] };
      },
    });
    const result = runBundle(bundle);
    expect(result.stderr).toBe("");
    const [own, init, hostname] = result.stdout.trim().split("\n");
    expect(own).toBe(init);
    expect(own).not.toBe(readlinkSync("/proc/self/ns/pid"));
    expect(hostname).toBe("hooked");
  });

  root("a hook without an environment has the runtime's, and in the container that of its process", () => {
    const out = scratch("hooks");
    const bundle = hooked(["createRuntime", "createContainer"], `echo $FROM > ${out}/$1`);
    bundle.edit((spec) => {
      spec.process.env = [...(spec.process.env ?? []), "FROM=the config"];
    });
    expect(runBundle(bundle, [], { env: { FROM: "the caller" } })).toMatchObject({ code: 0 });
    expect(lines(join(out, "createRuntime"))).toEqual(["the caller"]);
    expect(lines(join(out, "createContainer"))).toEqual(["the config"]);
  });

  root("a hook has the arguments and the environment that the config gives it, and no more", () => {
    const out = join(scratch("hooks"), "out");
    const program = join(scratch("hook"), "hook");
    writeFileSync(program, `#!/bin/sh\n{ echo "$0 $# $1"; /usr/bin/env; ls /proc/$$/fd; } > ${out}\n`);
    chmodSync(program, 0o755);
    const bundle = makeBundle({
      edit: (spec) => {
        spec.hooks = { createRuntime: [{ path: program, args: ["ignored", "one two"], env: ["A=b"] }] };
      },
    });
    expect(runBundle(bundle, [], { env: { SECRET: "1" } })).toMatchObject({ code: 0, stderr: "" });
    const printed = lines(out);
    expect(printed[0]).toBe(`${program} 1 one two`);
    expect(printed).toContain("A=b");
    expect(printed.join()).not.toContain("SECRET");
    // 0 to 2, and the script that the shell reads.
    expect(printed.filter((line) => /^\d+$/.test(line)).length).toBeLessThanOrEqual(5);
  });

  for (const stage of ["prestart", "createRuntime", "createContainer"] as const) {
    root(`a ${stage} hook that fails is told with what it printed, and nothing is left`, () => {
      const before = inventory();
      const result = runBundle(hooked([stage], "echo out; echo err >&2; exit 3"));
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(`hooks.${stage}[0] /bin/sh: ended with exit code 3 after `);
      expect(result.stderr).toContain('stdout: "out", stderr: "err"');
      expectNothingLeft(before);
    });
  }

  root("a startContainer hook that fails keeps the process from running", () => {
    const bundle = hooked(["startContainer"], "echo no >&2; exit 4", ["sh", "-c", "echo ran > /ran"]);
    const { id } = createContainer(bundle);
    const result = run(["start", id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("hooks.startContainer[0] /bin/sh: ended with exit code 4");
    expect(stateOf(id)?.status).toBe("stopped");
    expect(existsSync(join(bundle.rootfs, "ran"))).toBe(false);
    runOk(["delete", id]);
  });

  root("a poststart hook that fails stops the container, with start and with run", () => {
    const bundle = hooked(["poststart"], "exit 5", ["sleep", "1000"]);
    const { id } = createContainer(bundle);
    const started = run(["start", id]);
    expect(started).toMatchObject({ code: 1, stderr: expect.stringContaining("hooks.poststart[0]") });
    expect(stateOf(id)?.status).toBe("stopped");
    runOk(["delete", id]);
    const before = inventory();
    expect(runBundle(bundle)).toMatchObject({ code: 1, stderr: expect.stringContaining("hooks.poststart[0]") });
    expectNothingLeft(before);
  });

  root("a poststop hook that fails is warned of, and the others run", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(["poststop"], "exit 6");
    bundle.edit((spec) => {
      spec.hooks?.poststop?.push({ path: "/dev/null" });
      spec.hooks?.poststop?.push({ path: "/bin/sh", args: ["sh", "-c", `echo second > ${log}`] });
    });
    const before = inventory();
    const result = runBundle(bundle);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain("hooks.poststop[0] /bin/sh: ended with exit code 6");
    expect(result.stderr).toMatch(/hooks\.poststop\[1\] \/dev\/null: .*EACCES \(Permission denied\)/);
    expect(lines(log)).toEqual(["second"]);
    expectNothingLeft(before);
  });

  root("a poststop hook has the runtime's environment after run in the foreground, too", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(["poststop"], `{ echo $OWN; tr '\\0' ' ' < /proc/$PPID/cmdline; } > ${log}`);
    expect(runBundle(bundle, [], { env: { OWN: "mine" } })).toMatchObject({ code: 0, stderr: "" });
    const [own, parent] = lines(log);
    expect(own).toBe("mine");
    // By force it would be killed after half a minute.
    expect(parent).toMatch(/ delete /);
    expect(parent).not.toContain("--force");
  });

  root("a poststop hook runs though the bundle has been removed", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(["poststop"], `pwd > ${log}`, ["sleep", "1000"]);
    const { id } = createContainer(bundle);
    renameSync(bundle.path, `${bundle.path}-gone`);
    expect(run(["delete", id])).toMatchObject({ code: 0, stderr: "" });
    expect(lines(log)).toEqual(["/"]);
  });

  root("poststop hooks run when create failed after it began", () => {
    const log = join(scratch("hooks"), "log");
    const bundle = hooked(["poststop"], `echo gone > ${log}`, ["nosuch"]);
    expect(runBundle(bundle).code).toBe(1);
    expect(lines(log)).toEqual(["gone"]);
  });

  root("a hook that hangs is killed when its timeout is over", () => {
    const before = inventory();
    const result = runBundle(hooked(["createRuntime"], "exec sleep 1000", ["true"], { timeout: 1 }));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("hooks.createRuntime[0] /bin/sh: killed, as its timeout of 1 s was over");
    expectNothingLeft(before);
  });

  root("what a hook leaves running does not hold the runtime up", () => {
    const result = runBundle(hooked(["createRuntime"], "sleep 3 & exit 0"), [], { timeoutMs: 2_500 });
    expect(result).toMatchObject({ code: 0, stderr: "" });
  });

  root("the output of a hook in an error is bounded, and its control characters are escaped", () => {
    const result = runBundle(
      hooked(["prestart"], "printf '\\033[2Jx'; head -c 1000000 /dev/zero | tr '\\0' y; exit 1"),
    );
    expect(result.code).toBe(1);
    expect(result.stderr).not.toContain("\u001b");
    expect(result.stderr.length).toBeLessThan(60_000);
  });

  root("a hook that is not there is named, and not taken for a missing command", () => {
    const bundle = makeBundle({
      edit: (spec) => {
        spec.hooks = { createRuntime: [{ path: "/no/such/hook" }], createContainer: [{ path: "/no/such/hook" }] };
      },
    });
    const result = runBundle(bundle);
    expect(result.stderr).toContain("hooks.createRuntime[0] /no/such/hook: there is no such program");
    bundle.edit((spec) => {
      delete spec.hooks?.createRuntime;
    });
    expect(runBundle(bundle).stderr).toContain("hooks.createContainer[0] /no/such/hook: there is no such program");
  });

  root("killed while a hook runs, the runtime leaves a container that delete --force removes", async () => {
    const before = inventory();
    const id = newId();
    const ready = join(scratch("hooks"), "ready");
    const bundle = hooked(["createRuntime"], `mkfifo ${ready}.fifo; echo > ${ready}; exec sleep 5`);
    const started = spawn(["create", "-b", bundle.path, id]);
    while (!existsSync(ready)) await new Promise((resolve) => setTimeout(resolve, 5));
    started.child.kill("SIGKILL");
    await started.exit;
    expect(["creating", "stopped"]).toContain(stateOf(id)?.status);
    runOk(["delete", "--force", id]);
    expect(stateOf(id)).toBeUndefined();
    expectNothingLeft({ ...before, processes: inventory().processes });
  });

  root("in a user namespace hooks inside the container are root of it", () => {
    const bundle = makeBundle({
      args: ["cat", "/tmp/id"],
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.hooks = {
          startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "id -u > /tmp/id"], env: ["PATH=/bin"] }],
        };
        spec.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs" });
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "0\n", stderr: "" });
  });
});
