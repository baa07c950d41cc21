/** A container's life as engines lead it: create, start, state, kill, delete, list, ps, and what is refused meanwhile. */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { createContainer, runDetached, sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runBundle,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Removes the container and expects that this works. */
function remove(id: string): void {
  runOk(["delete", "--force", id]);
}

describe("create and start", () => {
  root("a created container waits, and its process runs at start", async () => {
    const container = createContainer(makeBundle({ args: ["sh", "-c", "echo started; sleep 3600"] }));
    expect(stateOf(container.id)?.status).toBe("created");
    expect(container.stdout()).toBe("");
    runOk(["start", container.id]);
    await container.waitFor("started");
    expect(stateOf(container.id)?.status).toBe("running");
    remove(container.id);
  });

  root("a container that ended by itself is stopped, and delete takes it away", async () => {
    const container = startContainer(makeBundle({ args: ["true"] }));
    await until(() => stateOf(container.id)?.status === "stopped", "it stops");
    expect(stateOf(container.id)).toMatchObject({ pid: 0 });
    runOk(["delete", container.id]);
    expect(stateOf(container.id)).toBeUndefined();
  });

  root("an id that is taken is refused, and its container is left as it is", () => {
    const { id } = createContainer(sleepingBundle());
    const again = run(["create", "-b", sleepingBundle().path, id]);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/container with given ID already exists|container .* already exists/);
    expect(stateOf(id)?.status).toBe("created");
    remove(id);
  });

  own("the message about a taken id is runc's", () => {
    const { id } = createContainer(sleepingBundle());
    expect(runBundle(sleepingBundle(), ["--id", id]).code).not.toBe(0);
    expect(run(["run", "-b", sleepingBundle().path, id]).stderr).toContain("container with given ID already exists");
    remove(id);
  });

  root("a running container cannot be started again", () => {
    const { id } = startContainer(sleepingBundle());
    const again = run(["start", id]);
    expect(again.code).toBe(1);
    expect(stateOf(id)?.status).toBe("running");
    remove(id);
  });

  own("starting twice, or after the end, says which it was", async () => {
    const { id } = startContainer(sleepingBundle());
    expect(run(["start", id]).stderr).toContain("cannot start an already running container");
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    expect(run(["start", id]).stderr).toContain("cannot start a container that has stopped");
    runOk(["delete", id]);
  });

  own("a created container whose process was killed cannot be started", async () => {
    const { id } = createContainer(sleepingBundle());
    process.kill(stateOf(id)?.pid as number, "SIGKILL");
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    expect(run(["start", id]).stderr).toContain("cannot start a container that has stopped");
    runOk(["delete", id]);
  });

  root("start of a container that does not exist fails and says so", () => {
    const result = run(["start", newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("does not exist");
  });

  root("two starts at once: the process runs once, and one of them is told", async () => {
    const container = createContainer(makeBundle({ args: ["sh", "-c", "echo one; sleep 3600"] }));
    const starts = [spawn(["start", container.id]), spawn(["start", container.id])];
    const codes = (await Promise.all(starts.map((start) => start.exit))).map(({ code }) => code).sort();
    expect(codes).toEqual([0, 1]);
    await container.waitFor("one");
    expect(container.stdout()).toBe("one\n");
    remove(container.id);
  });
});

describe("what cannot be executed fails at create", () => {
  const cases: [name: string, args: string[], text: string][] = [
    ["a command that is nowhere on PATH", ["nosuch"], 'exec: "nosuch": executable file not found in $PATH'],
    ["a path that is not there", ["/bin/nosuch"], 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory'],
    ["a file that is not executable", ["/etc/passwd"], 'exec: "/etc/passwd": permission denied'],
    ["a directory", ["/etc"], 'exec: "/etc": permission denied: it is a directory'],
  ];
  for (const [name, args, text] of cases) {
    own(`${name}: runc's words, exit code 1, and nothing is left`, () => {
      const bundle = makeBundle({ args });
      for (const verb of ["create", "run"]) {
        const id = newId();
        const result = run([verb, "-b", bundle.path, id]);
        expect(result.code).toBe(1);
        expect(result.stderr).toContain(text);
        expect(stateOf(id)).toBeUndefined();
      }
    });
  }

  root("a command that is not there fails at create under every runtime", () => {
    const result = run(["create", "-b", makeBundle({ args: ["nosuch"] }).path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("executable file");
    expect(result.stderr).toContain("not found in $PATH");
  });

  own("a command on PATH that may not be executed is found wanting, not missing", () => {
    const bundle = makeBundle({ args: ["tool"], env: ["PATH=/etc:/opt/bin"] });
    mkdirSync(join(bundle.rootfs, "opt/bin"), { recursive: true });
    writeFileSync(join(bundle.rootfs, "opt/bin/tool"), "#!/bin/sh\n", { mode: 0o644 });
    expect(runBundle(bundle).stderr).toContain('exec: "tool": permission denied');
  });

  root("a later directory of PATH is used when the earlier file may not be executed", () => {
    const bundle = makeBundle({ args: ["tool"], env: ["PATH=/a:/b:/bin"] });
    for (const [dir, mode] of [
      ["a", 0o644],
      ["b", 0o755],
    ] as const) {
      mkdirSync(join(bundle.rootfs, dir));
      writeFileSync(join(bundle.rootfs, dir, "tool"), `#!/bin/sh\necho ${dir}\n`, { mode });
    }
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "b\n" });
  });
});

describe("what the kernel refuses to execute fails at start", () => {
  const script = (name: string, text: string) => {
    const bundle = makeBundle({ args: [`/${name}`] });
    writeFileSync(join(bundle.rootfs, name), text, { mode: 0o755 });
    return bundle;
  };

  own("a file that is no program: exec format error", () => {
    const bundle = script("text", "no program\n");
    expect(runBundle(bundle)).toMatchObject({ code: 1 });
    expect(runBundle(bundle).stderr).toContain('exec "/text": exec format error');
    const container = createContainer(bundle);
    expect(run(["start", container.id])).toMatchObject({ code: 1 });
    remove(container.id);
  });

  own("a script whose interpreter is missing: no such file or directory, and what that means", () => {
    const result = runBundle(script("script", "#!/no/interpreter\n"));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('exec "/script": no such file or directory');
    expect(result.stderr).toContain("interpreter");
  });

  own("a container whose start failed is stopped, and can be deleted without force", async () => {
    const { id } = createContainer(script("text", "no program\n"));
    const result = run(["start", id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("exec format error");
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    runOk(["delete", id]);
  });
});

describe("state", () => {
  root("has the fields of the OCI state and what runc adds", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.annotations = { "com.example.key": "value" };
      },
    });
    const { id } = startContainer(bundle);
    const state = stateOf(id);
    expect(state).toMatchObject({
      id,
      status: "running",
      bundle: bundle.path,
      rootfs: bundle.rootfs,
      annotations: { "com.example.key": "value" },
    });
    expect(state?.ociVersion).toMatch(/^1\.\d+\.\d+/);
    expect(state?.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    expect(readFileSync(`/proc/${state?.pid}/cmdline`, "utf8").split("\0")).toEqual(["sleep", "3600", ""]);
    remove(id);
  });

  own("is printed as runc prints it: two blanks, no newline at the end, and this order", () => {
    const { id } = createContainer(sleepingBundle());
    const text = runOk(["state", id]);
    expect(text).toBe(JSON.stringify(JSON.parse(text), null, 2));
    expect(Object.keys(JSON.parse(text))).toEqual([
      "ociVersion",
      "id",
      "pid",
      "status",
      "bundle",
      "rootfs",
      "created",
      "owner",
    ]);
    remove(id);
  });

  own("created is the time to less than a millisecond", () => {
    const digits = Array.from({ length: 3 }, () => {
      const { id } = createContainer(sleepingBundle());
      const { created } = stateOf(id) as unknown as { created: string };
      expect(Math.abs(Date.parse(created) - Date.now())).toBeLessThan(60_000);
      remove(id);
      return /\.\d{3}(\d{6})Z$/.exec(created)?.[1];
    });
    expect(digits.some((six) => six !== "000000")).toBe(true);
  });

  root("of a container that does not exist fails and says so", () => {
    const result = run(["state", newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("does not exist");
  });

  own("a state file that was cut short is an error that names the container", () => {
    const { id } = createContainer(sleepingBundle());
    const path = `/run/tsrun/${id}/state.json`;
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.slice(0, 20));
    const result = run(["state", id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`state of container ${id} cannot be read`);
    writeFileSync(path, text);
    remove(id);
  });
});

describe("kill", () => {
  root("sends TERM when nothing is said, and signals by name, short name and number", async () => {
    const args = [
      "sh",
      "-c",
      'for s in TERM HUP USR1; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.05; done',
    ];
    const container = startContainer(makeBundle({ args }));
    await container.waitFor("ready");
    for (const [signal, echo] of [
      [undefined, "TERM"],
      ["HUP", "HUP"],
      ["SIGUSR1", "USR1"],
      ["1", "HUP\nUSR1\nHUP"],
    ] as const) {
      runOk(["kill", container.id, ...(signal === undefined ? [] : [signal])]);
      await container.waitFor(`${echo}\n`);
    }
    expect(container.stdout()).toBe("ready\nTERM\nHUP\nUSR1\nHUP\n");
    remove(container.id);
  });

  root("of a stopped container is refused with the words that containerd looks for", async () => {
    const { id } = startContainer(makeBundle({ args: ["true"] }));
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    const result = run(["kill", id, "KILL"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/container not running|No such process|container .* is not running/);
    runOk(["delete", id]);
  });

  own("of a stopped container says: container not running", async () => {
    const { id } = startContainer(makeBundle({ args: ["true"] }));
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    expect(run(["kill", id, "TERM"]).stderr).toContain("container not running");
    expect(run(["kill", "--all", id, "KILL"])).toMatchObject({ code: 0, stderr: "" });
    runOk(["delete", id]);
  });

  root("ends a container that was created and never started", async () => {
    const { id } = createContainer(sleepingBundle());
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    runOk(["delete", id]);
  });

  root("a created container heeds who asks it to end: its first process has no other way to be stopped", async () => {
    for (const signal of [[], ["INT"], ["HUP"], ["QUIT"]]) {
      const { id } = createContainer(sleepingBundle());
      runOk(["kill", id, ...signal]);
      await until(() => stateOf(id)?.status === "stopped", `it stops on ${signal[0] ?? "TERM"}`);
      expect(run(["start", id]).code).toBe(1);
      runOk(["delete", id]);
    }
  });

  own("what a created container ignored by itself it still ignores: USR1, WINCH", () => {
    const { id } = createContainer(sleepingBundle());
    for (const signal of ["USR1", "WINCH"]) runOk(["kill", id, signal]);
    runOk(["start", id]);
    expect(stateOf(id)?.status).toBe("running");
    remove(id);
  });

  root("a signal that there is not is refused", () => {
    const { id } = createContainer(sleepingBundle());
    for (const signal of ["NOSUCH", "-1", "999"]) expect(run(["kill", id, signal]).code, signal).not.toBe(0);
    expect(stateOf(id)?.status).toBe("created");
    remove(id);
  });

  own("without a pid namespace KILL ends every process of the container", async () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "sleep 3601 & sleep 3602 & echo ready; wait"],
      edit: (spec) => {
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "pid");
      },
    });
    const container = startContainer(bundle);
    await container.waitFor("ready");
    const pids = JSON.parse(runOk(["ps", "--format", "json", container.id])) as number[];
    expect(pids).toHaveLength(3);
    runOk(["kill", container.id, "KILL"]);
    await until(() => pids.every((pid) => !isRunning(pid)), "all of them end");
    remove(container.id);
  });

  root("--all reaches every process", async () => {
    const loop = "trap 'echo got' USR1; echo ready; while :; do sleep 0.05; done";
    const container = startContainer(makeBundle({ args: ["sh", "-c", `sh -c "${loop}" & ${loop}`] }));
    await container.waitFor("ready\nready\n");
    runOk(["kill", "--all", container.id, "USR1"]);
    await container.waitFor("got\ngot\n");
    remove(container.id);
  });
});

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("delete", () => {
  root("of a running container is refused without force", () => {
    const { id } = startContainer(sleepingBundle());
    const result = run(["delete", id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/that is not stopped: running|is not stopped/);
    expect(stateOf(id)?.status).toBe("running");
    remove(id);
    expect(stateOf(id)).toBeUndefined();
  });

  own("of a running container is refused in runc's words", () => {
    const { id } = startContainer(sleepingBundle());
    expect(run(["delete", id]).stderr).toContain(`cannot delete container ${id} that is not stopped: running`);
    remove(id);
  });

  root("of a created container ends its process; no force is needed", async () => {
    const { id } = createContainer(sleepingBundle());
    const pid = stateOf(id)?.pid as number;
    runOk(["delete", id]);
    await until(() => !isRunning(pid), "its process ends");
    expect(stateOf(id)).toBeUndefined();
  });

  root("of one that does not exist fails and says so; with force it is no error", () => {
    const id = newId();
    const result = run(["delete", id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("does not exist");
    expect(run(["delete", "--force", id])).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  own("with force takes away the directory of one whose create was killed before it wrote a state", () => {
    const id = newId();
    mkdirSync(`/run/tsrun/${id}`, { recursive: true });
    runOk(["delete", "--force", id]);
    expect(existsSync(`/run/tsrun/${id}`)).toBe(false);
  });

  own("never takes away what lies in a state directory and is not tsrun's", () => {
    const id = newId();
    mkdirSync(`/run/tsrun/${id}/foreign`, { recursive: true });
    expect(run(["delete", "--force", id]).code).toBe(1);
    expect(existsSync(`/run/tsrun/${id}/foreign`)).toBe(true);
    runDetached(["-c", `rm -r /run/tsrun/${id}`], { runtime: "sh" });
  });

  own("an id that is no name is refused before anything is touched", () => {
    for (const id of ["/", "..", ".", "a/b", "../x", "", "a\nb", "x".repeat(1025)]) {
      const result = run(["delete", "--force", "--", id]);
      expect(result.code, JSON.stringify(id)).toBe(1);
      expect(result.stderr, JSON.stringify(id)).toMatch(/id/);
    }
  });
});

describe("list and ps", () => {
  root("list --quiet names each container, and --format json has their states", () => {
    const created = createContainer(sleepingBundle());
    const running = startContainer(sleepingBundle());
    expect(runOk(["list", "--quiet"]).split("\n")).toEqual(expect.arrayContaining([created.id, running.id]));
    const list = JSON.parse(runOk(["list", "--format", "json"])) as { id: string; status: string; owner: string }[];
    expect(list.find(({ id }) => id === created.id)).toMatchObject({ status: "created", owner: "root" });
    expect(list.find(({ id }) => id === running.id)).toMatchObject({ status: "running" });
    remove(created.id);
    remove(running.id);
  });

  root("the table of list has a line with id, pid, status and bundle", () => {
    const bundle = sleepingBundle();
    const { id } = startContainer(bundle);
    const [header, ...lines] = runOk(["list"]).split("\n");
    expect(header).toMatch(/^(ID|NAME)\s+PID\s+STATUS\s+BUNDLE/);
    expect(lines.find((line) => line.startsWith(id))).toMatch(
      new RegExp(`^${id}\\s+${stateOf(id)?.pid}\\s+running\\s+${bundle.path}\\s`),
    );
    remove(id);
  });

  own("without a container list prints an empty list", () => {
    const dir = scratch();
    expect(runOk(["--root", dir, "list", "--format", "json"])).toBe("[]\n");
    expect(runOk(["--root", join(dir, "not-there"), "list", "-q"])).toBe("");
  });

  root("ps --format json has the pids that the host sees", async () => {
    const container = startContainer(makeBundle({ args: ["sh", "-c", "sleep 3601 & echo ready; wait"] }));
    await container.waitFor("ready");
    const pids = JSON.parse(runOk(["ps", "--format", "json", container.id])) as number[];
    expect(pids).toHaveLength(2);
    expect(pids).toContain(stateOf(container.id)?.pid);
    remove(container.id);
  });

  needs({ root: true, tsrun: true, commands: ["ps"] })(
    "the table of ps has the lines of the container's processes",
    async () => {
      const container = startContainer(makeBundle({ args: ["sh", "-c", "sleep 3601 & echo ready; wait"] }));
      await container.waitFor("ready");
      const [header, ...lines] = runOk(["ps", container.id]).trim().split("\n");
      expect(header).toMatch(/UID\s+PID/);
      expect(lines.map((line) => /sleep 3601|sh -c/.test(line))).toEqual([true, true]);
      expect(runOk(["ps", container.id, "-o", "pid,args"]).trim().split("\n")).toHaveLength(3);
      remove(container.id);
    },
  );

  root("a root of its own keeps containers apart", () => {
    const dir = scratch();
    const id = newId();
    expect(runDetached(["--root", dir, "create", "-b", sleepingBundle().path, id]).code).toBe(0);
    expect(stateOf(id)).toBeUndefined();
    expect(runOk(["--root", dir, "list", "-q"])).toBe(`${id}\n`);
    runOk(["--root", dir, "delete", id]);
  });
});

describe("run", () => {
  root("--detach returns while the process runs, and its pid is in the pid file", async () => {
    const pidFile = join(scratch(), "pid");
    const id = newId();
    const made = runDetached(["run", "-d", "--pid-file", pidFile, "-b", sleepingBundle().path, id]);
    expect(made.code).toBe(0);
    expect(stateOf(id)).toMatchObject({ status: "running", pid: Number(readFileSync(pidFile, "utf8")) });
    remove(id);
  });

  root("the pid file of create has digits and nothing else", () => {
    const pidFile = join(scratch(), "pid");
    const { id } = createContainer(sleepingBundle(), ["--pid-file", pidFile]);
    expect(readFileSync(pidFile, "utf8")).toMatch(/^\d+$/);
    expect(stateOf(id)?.pid).toBe(Number(readFileSync(pidFile, "utf8")));
    remove(id);
  });

  root("a relative pid file is taken from where the caller is", () => {
    const cwd = scratch();
    const id = newId();
    expect(runDetached(["create", "--pid-file", "pid", "-b", sleepingBundle().path, id], { cwd }).code).toBe(0);
    expect(statSync(join(cwd, "pid")).size).toBeGreaterThan(0);
    remove(id);
  });

  own("a pid file that cannot be written fails, and the container is gone", () => {
    const id = newId();
    const result = run(["run", "--pid-file", "/proc/nowhere/pid", "-b", sleepingBundle().path, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("write pid file /proc/nowhere/pid");
    expect(stateOf(id)).toBeUndefined();
  });

  own("--keep keeps the state of a container that has ended, until delete", () => {
    const id = newId();
    expect(run(["run", "--keep", "-b", makeBundle({ args: ["sh", "-c", "exit 5"] }).path, id]).code).toBe(5);
    expect(stateOf(id)).toMatchObject({ status: "stopped", pid: 0 });
    runOk(["delete", id]);
    expect(stateOf(id)).toBeUndefined();
  });

  own("makes an id up, and says it when it returns at once", () => {
    const made = runDetached(["run", "-d", sleepingBundle().path]);
    expect(made.stderr()).toBe("");
    const id = made.stdout().trim();
    expect(stateOf(id)?.status).toBe("running");
    remove(id);
  });

  root("the current directory is the bundle when none is named", () => {
    const bundle = makeBundle({ args: ["echo", "here"] });
    expect(run(["run", newId()], { cwd: bundle.path })).toMatchObject({ code: 0, stdout: "here\n" });
  });

  root("a bundle by a symbolic link works, and state names what the caller named", () => {
    const link = join(scratch(), "link");
    symlinkSync(sleepingBundle().path, link);
    const { id } = createContainer({ path: link });
    expect(stateOf(id)?.status).toBe("created");
    remove(id);
  });

  root("a bundle that is not there, or has no config.json, is refused by name", () => {
    const empty = scratch();
    for (const path of ["/nonexistent/bundle", empty]) {
      const result = run(["run", "-b", path, newId()]);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/config\.json|bundle/);
    }
  });

  root("a bundle in a directory that others may not enter works for root", () => {
    const bundle = makeBundle({ args: ["echo", "in"] });
    chmodSync(bundle.path, 0o700);
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "in\n" });
  });
});
