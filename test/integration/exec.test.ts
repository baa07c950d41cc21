/** Another process in a container that runs: where it is, who it is, and how its end is told. */

import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { cgroupOf } from "../helpers/cgroup.ts";
import { type Container, createContainer, runDetached, sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { call } from "../helpers/random-life.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  type Result,
  RUNTIME,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
let container: Container;
beforeAll(() => {
  before = inventory();
  container = startContainer(
    sleepingBundle({
      env: ["PATH=/bin", "TERM=xterm", "KEPT=yes"],
      edit: (spec) => {
        spec.hostname = "inner";
        spec.process.cwd = "/tmp";
      },
    }),
  );
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

function exec(flags: readonly string[], ...command: string[]): Result {
  return run(["exec", ...flags, container.id, ...command]);
}

function sh(script: string, ...flags: string[]): string {
  return runOk(["exec", ...flags, container.id, "sh", "-c", script]);
}

/** A file with an OCI process object. */
function processFile(process: object): string {
  const path = join(scratch("process"), "process.json");
  writeFileSync(path, JSON.stringify({ user: { uid: 0, gid: 0 }, cwd: "/", ...process }));
  return path;
}

describe("where the process is", () => {
  root("in every namespace of the container", () => {
    const pid = stateOf(container.id)?.pid;
    expect(sh("hostname")).toBe("inner\n");
    for (const ns of ["mnt", "pid", "net", "ipc", "uts"]) {
      expect(sh(`readlink /proc/self/ns/${ns}`).trim()).toBe(readlinkSync(`/proc/${pid}/ns/${ns}`));
    }
  });

  root("in the container's cgroups", () => {
    const of = (text: string) =>
      text
        .trim()
        .split("\n")
        .map((line) => line.slice(line.indexOf(":") + 1))
        .sort();
    const { pid } = JSON.parse(runOk(["state", container.id])) as { pid: number };
    const started = runDetached(["exec", "-d", container.id, "sleep", "3700"]);
    expect(started.code).toBe(0);
    const pids = JSON.parse(runOk(["ps", "--format", "json", container.id])) as number[];
    const other = pids.find((one) => one !== pid) as number;
    expect(of(readFileSync(`/proc/${other}/cgroup`, "utf8"))).toEqual(of(readFileSync(`/proc/${pid}/cgroup`, "utf8")));
    process.kill(other, "SIGKILL");
  });

  root("in the container's working directory, or the one that --cwd names", () => {
    expect(sh("pwd")).toBe("/tmp\n");
    expect(sh("pwd", "--cwd", "/etc")).toBe("/etc\n");
  });

  root("with the container's environment and what --env adds to it", () => {
    expect(sh("echo $KEPT $ADDED $OTHER", "-e", "ADDED=a b", "-e", "OTHER=c d")).toBe("yes a b c d\n");
  });

  root("the last of two settings of a variable counts", () => {
    expect(sh("echo $KEPT", "-e", "KEPT=no")).toBe("no\n");
  });

  own("a variable that is set anew is there once: programs differ in which of two they take", () => {
    const variables = exec(["-e", "KEPT=no", "-e", "NEW=1", "-e", "NEW=2=3"], "env").stdout.split("\n");
    expect(variables.filter((entry) => /^(KEPT|NEW)=/.test(entry))).toEqual(["KEPT=no", "NEW=2=3"]);
  });
});

describe("who the process is", () => {
  root("root without --user, the user and group of it with", () => {
    expect(sh("id -u; id -g")).toBe("0\n0\n");
    expect(sh("id -u; id -g", "--user", "1000:2000")).toBe("1000\n2000\n");
    expect(sh("id -u", "-u", "1000")).toBe("1000\n");
  });

  own("a comma in a variable is a part of it, and both names of a flag may be used", () => {
    expect(sh("echo $A $B; id -G", "-e", "A=1,2", "--env", "B=3", "--additional-gids", "4", "-g", "5")).toBe(
      "1,2 3\n0 4 5\n",
    );
  });

  own("a user by name is refused: names are the container's business", () => {
    const result = exec(["--user", "app"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("app");
  });

  root("--additional-gids adds groups", () => {
    expect(sh("id -G", "-g", "2000", "-g", "3000").trim().split(" ").sort()).toEqual(["0", "2000", "3000"]);
  });

  root("HOME is that of the user in the container's passwd", () => {
    expect(sh("echo $HOME")).toBe("/root\n");
    expect(sh("echo $HOME", "--user", "1000")).toBe("/home/app\n");
    expect(sh("echo $HOME", "--user", "4321")).toBe("/\n");
  });

  root("--cap gives a capability more, in every set that counts", () => {
    const caps = (...flags: string[]) =>
      Object.fromEntries(
        sh("grep ^Cap /proc/self/status", ...flags)
          .trim()
          .split("\n")
          .map((line) => [line.slice(0, 6), BigInt(`0x${line.slice(8)}`)]),
      );
    const netAdmin = 1n << 12n;
    const [plain, more] = [caps(), caps("--cap", "CAP_NET_ADMIN")];
    for (const set of ["CapBnd", "CapPrm", "CapEff"]) {
      expect((plain[set] ?? 0n) & netAdmin, set).toBe(0n);
      expect((more[set] ?? 0n) & netAdmin, set).toBe(netAdmin);
    }
  });

  root("an unknown capability is refused or left out, never mistaken for another", () => {
    const result = exec(["--cap", "CAP_NOSUCH"], "true");
    expect([0, 255, 1]).toContain(result.code);
  });

  root("--no-new-privs sets no_new_privs", () => {
    const id = startContainer(
      sleepingBundle({
        edit: (spec) => {
          spec.process.noNewPrivileges = false;
        },
      }),
    ).id;
    const script = ["sh", "-c", "grep NoNewPrivs /proc/self/status"];
    expect(runOk(["exec", id, ...script])).toBe("NoNewPrivs:\t0\n");
    expect(runOk(["exec", "--no-new-privs", id, ...script])).toBe("NoNewPrivs:\t1\n");
    runOk(["delete", "-f", id]);
  });
});

describe("--process", () => {
  own("takes a pipe, which is what a shell makes of <(...)", () => {
    const file = processFile({ args: ["echo", "from a pipe"] });
    const command = `${RUNTIME} exec --process <(cat ${file}) ${container.id}`;
    expect(spawnSync("bash", ["-c", command], { encoding: "utf8" })).toMatchObject({
      status: 0,
      stdout: "from a pipe\n",
    });
  });

  root("takes everything from the file", () => {
    const file = processFile({
      args: ["sh", "-c", 'id -u; id -G; pwd; echo "$A"; umask; grep Cap /proc/self/status | tail -n 1; ulimit -n'],
      env: ["PATH=/bin", "A=b"],
      cwd: "/etc",
      user: { uid: 1000, gid: 1000, additionalGids: [2000] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 77, hard: 88 }],
      noNewPrivileges: true,
    });
    const lines = runOk(["exec", "--process", file, container.id]).split("\n");
    expect(lines.slice(0, 5)).toEqual(["1000", "1000 2000", "/etc", "b", "0022"]);
    expect(lines[6]).toBe("77");
  });

  own("the umask of the file counts", () => {
    const file = processFile({
      args: ["sh", "-c", "umask"],
      env: ["PATH=/bin"],
      user: { uid: 0, gid: 0, umask: 0o77 },
    });
    expect(runOk(["exec", "-p", file, container.id])).toBe("0077\n");
  });

  root("capabilities and limits that the file leaves out are the container's; empty ones are none", () => {
    const args = ["sh", "-c", "grep CapEff /proc/self/status; ulimit -n"];
    const out = runOk(["exec", "-p", processFile({ args, env: ["PATH=/bin"] }), container.id]);
    expect(out).toBe(sh("grep CapEff /proc/self/status; ulimit -n"));
    expect(out).not.toContain("0000000000000000");
    const none = processFile({ args, env: ["PATH=/bin"], capabilities: { bounding: [] } });
    expect(runOk(["exec", "-p", none, container.id])).toContain("CapEff:\t0000000000000000\n");
  });

  root("names whose letters have another case are the spec's", () => {
    const file = processFile({ args: ["sh", "-c", "grep CapEff /proc/self/status; id -u"], env: ["PATH=/bin"] });
    const process = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...process, Capabilities: { Bounding: [] }, user: { UID: 7 } }));
    expect(runOk(["exec", "-p", file, container.id])).toBe("CapEff:\t0000000000000000\n7\n");
  });

  own("a file with problems is refused with all of them", () => {
    const result = run(["exec", "--process", processFile({ args: [], cwd: "relative" }), container.id]);
    expect(result.code).toBe(255);
    expect(result.stderr).toMatch(/\/\S+ has 2 problems\n/);
    expect(result.stderr).toContain("process.cwd");
    expect(result.stderr).toContain("process.args");
    expect(result.stderr).not.toContain("config.json");
  });

  own("a file that is not there, or no JSON, is refused by name", () => {
    const dir = scratch();
    writeFileSync(join(dir, "broken"), "{");
    for (const path of [join(dir, "missing"), join(dir, "broken")]) {
      const result = run(["exec", "--process", path, container.id]);
      expect(result.code).toBe(255);
      expect(result.stderr).toContain(path);
      expect(result.stderr).not.toMatch(/bundle|spec -b/);
    }
  });

  own("a hard limit that cannot be raised is told before anything starts", () => {
    const file = processFile({
      args: ["true"],
      env: ["PATH=/bin"],
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: 2 ** 40 }],
    });
    // Without CAP_SYS_RESOURCE nobody raises a hard limit.
    const result = spawnSync(
      "setpriv",
      ["--bounding-set", "-sys_resource", "--inh-caps", "-all", RUNTIME, "exec", "-p", file, container.id],
      { encoding: "utf8" },
    );
    expect(result.status).toBe(255);
    expect(result.stderr).toContain("process.rlimits[0].hard");
  });
});

describe("how its end is told", () => {
  root("the exit code of the process is that of exec", () => {
    expect(exec([], "sh", "-c", "exit 41").code).toBe(41);
  });

  root("a process that a signal ended gives 128 and its number", () => {
    expect(exec([], "sh", "-c", "kill -KILL $$").code).toBe(137);
    expect(exec([], "sh", "-c", "kill -TERM $$").code).toBe(143);
  });

  root("the process's input and outputs are those of exec", () => {
    const result = run(["exec", container.id, "sh", "-c", "cat; echo bad >&2"], { input: "in\n" });
    expect(result).toMatchObject({ code: 0, stdout: "in\n", stderr: "bad\n" });
  });

  root("a signal to exec reaches its process", async () => {
    const script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    const started = spawn(["exec", container.id, "sh", "-c", script]);
    await started.waitFor("ready");
    await until(() => !/^tsrun$/m.test(readFileSync(`/proc/${started.pid}/comm`, "utf8")), "exec waits");
    started.child.kill("SIGTERM");
    expect(await started.exit).toMatchObject({ code: 7, stdout: "ready\ngot\n" });
  });

  own("what cannot be executed gives 255 and runc's words", () => {
    const missing = exec([], "nosuch");
    expect(missing.code).toBe(255);
    expect(missing.stderr).toContain('exec: "nosuch": executable file not found in $PATH');
    const denied = exec([], "/etc/passwd");
    expect(denied.code).toBe(255);
    expect(denied.stderr).toContain('exec: "/etc/passwd": permission denied');
    const cwd = exec(["--cwd", "/nowhere"], "true");
    expect(cwd.code).toBe(255);
    expect(cwd.stderr).toContain("process.cwd");
  });

  own("a container that does not exist gives 255 and says so", () => {
    const result = run(["exec", newId(), "true"]);
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("does not exist");
  });

  own("a stopped container gives 255 and names its status", async () => {
    const { id } = startContainer(sleepingBundle());
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "it stops");
    const result = run(["exec", id, "true"]);
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("cannot exec in a stopped container");
    runOk(["delete", id]);
  });

  root("a created container takes an exec before it is started", () => {
    const { id } = createContainer(sleepingBundle());
    expect(run(["exec", id, "echo", "early"])).toMatchObject({ code: 0, stdout: "early\n" });
    expect(stateOf(id)?.status).toBe("created");
    runOk(["delete", id]);
  });

  root("nothing of a process that has ended is left in the container", async () => {
    sh("true");
    expect(JSON.parse(runOk(["ps", "--format", "json", container.id]))).toHaveLength(1);
  });
});

describe("descriptors", () => {
  root("the process has 0, 1 and 2 and no others", () => {
    // The directory listing itself opens one more.
    expect(sh("ls /proc/self/fd").trim().split("\n")).toEqual(["0", "1", "2", "3"]);
  });

  root("--preserve-fds passes on as many as it says", () => {
    const file = join(scratch(), "kept");
    writeFileSync(file, "through 3\n");
    const fd = openSync(file, "r");
    const result = spawnSync(
      RUNTIME,
      ["exec", "--preserve-fds", "1", container.id, "sh", "-c", "cat <&3; ls /proc/self/fd"],
      {
        stdio: ["ignore", "pipe", "pipe", fd, fd],
        encoding: "utf8",
      },
    );
    closeSync(fd);
    expect(result.stdout).toBe("through 3\n0\n1\n2\n3\n4\n");
  });

  own("--preserve-fds of a descriptor that is not open is refused", () => {
    const result = exec(["--preserve-fds", "40"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("descriptor");
  });
});

describe("--detach", () => {
  root("returns while the process runs, and --pid-file has its pid", () => {
    const file = join(scratch(), "pid");
    const started = runDetached(["exec", "-d", "--pid-file", file, container.id, "sleep", "3701"]);
    expect(started.code).toBe(0);
    expect(readFileSync(file, "utf8")).toMatch(/^\d+$/);
    const pid = Number(readFileSync(file, "utf8"));
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).toContain("3701");
    process.kill(pid, "SIGKILL");
  });

  own("with a terminal needs a console socket", () => {
    const result = exec(["-d", "-t"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("cannot allocate tty if tsrun will detach without setting console socket");
  });

  own("a console socket without a terminal is refused", () => {
    const result = exec(["--console-socket", "/tmp/none.sock"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("cannot use console socket if tsrun will not detach or allocate tty");
  });
});

describe("--cgroup", () => {
  const v1 = needs({ root: true, tsrun: true, cgroup: "v1", controllers: ["memory"] });

  v1("a path with two dots is refused", () => {
    const result = exec(["--cgroup", "memory:../../escape"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("is not a sub cgroup path");
  });

  v1("puts the process into a cgroup below the container's", () => {
    const line = readFileSync(`/proc/${stateOf(container.id)?.pid}/cgroup`, "utf8")
      .split("\n")
      .find((one) => one.split(":")[1] === "memory") as string;
    const dir = `/sys/fs/cgroup/memory${line.split(":")[2]}/below`;
    mkdirSync(dir);
    expect(sh("grep :memory: /proc/self/cgroup", "--cgroup", "memory:below")).toContain("/below");
    expect(existsSync(dir)).toBe(true);
  });

  v1("a cgroup that is not there is refused, and named", () => {
    const result = exec(["--cgroup", "memory:nowhere"], "true");
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("nowhere");
  });

  v1("a controller that the container has not is refused", () => {
    expect(exec(["--cgroup", "nosuch:x"], "true").stderr).toContain("unknown controller nosuch");
  });
});

describe("a cgroup that is frozen when the process comes", () => {
  const frozen = needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers: ["freezer"] });

  // As when `pause` comes between exec's look at the container and its process.
  frozen("exec says so in bounded time, and waits for the thaw only when asked", async () => {
    const { id } = startContainer(sleepingBundle());
    const dir = `${cgroupOf(id, "freezer")}/below`;
    const isV1 = existsSync(`${cgroupOf(id, "freezer")}/freezer.state`);
    const [file, on, off] = isV1 ? ["freezer.state", "FROZEN", "THAWED"] : ["cgroup.freeze", "1", "0"];
    mkdirSync(dir);
    writeFileSync(`${dir}/${file}`, on);
    const below = ["--cgroup", isV1 ? "freezer:below" : "below"];
    // Without pipes, which the process would hold where a v1 freezer keeps it from dying until it is thawed.
    const result = await call(["exec", ...below, id, "true"]);
    expect(result).toMatchObject({ code: 255, stderr: expect.stringContaining("cannot exec in a paused container") });
    expect(stateOf(id)?.status).toBe("running");
    if (!isV1) expect(readFileSync(`${dir}/cgroup.procs`, "utf8")).toBe("");

    const waiting = spawn(["exec", ...below, "--ignore-paused", id, "echo", "thawed"]);
    const member = `${dir}/cgroup.procs`;
    await until(() => readFileSync(member, "utf8") !== "", "it is there");
    expect(waiting.stdout()).toBe("");
    writeFileSync(`${dir}/${file}`, off);
    expect(await waiting.exit).toMatchObject({ code: 0, stdout: "thawed\n" });
    await until(() => readFileSync(member, "utf8") === "", "both have ended");
    runOk(["delete", id, "--force"]);
  });
});

describe("a container that has moved its processes", () => {
  const v2 = needs({ root: true, cgroup: "v2", controllers: ["memory"] });

  v2("exec joins its cgroup, and where its init is once that one hands controllers down", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "cgroup" });
        for (const mount of spec.mounts) if (mount.type === "cgroup") mount.options = ["rw"];
      },
    });
    const { id } = startContainer(bundle);
    const inside = (script: string) => runOk(["exec", id, "sh", "-c", script]).trim();
    expect(inside("cd /sys/fs/cgroup && mkdir foo && echo 1 > foo/cgroup.procs; cat /proc/self/cgroup")).toBe("0::/");
    expect(inside("cat /proc/self/cgroup")).toBe("0::/");
    inside("cd /sys/fs/cgroup && echo $$ > foo/cgroup.procs && echo +memory > cgroup.subtree_control");
    expect(inside("cat /proc/self/cgroup")).toBe("0::/foo");
    const busy = run(["exec", "--cgroup", "/", id, "true"]);
    expect(busy.code).toBe(255);
    expect(busy.stderr).toContain("cgroup.procs: device or resource busy");
    expect(runOk(["exec", "--cgroup", "foo", id, "cat", "/proc/self/cgroup"])).toBe("0::/foo\n");
    runOk(["delete", "--force", id]);
  });
});

describe("cgroup namespace", () => {
  for (const withUser of [false, true]) {
    root(`of the container${withUser ? ", in its user namespace" : ""}: the process is at its root too`, () => {
      const bundle = sleepingBundle({
        edit: (spec) => {
          spec.linux.namespaces?.push({ type: "cgroup" });
          if (!withUser) return;
          spec.linux.namespaces?.push({ type: "user" });
          spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
          spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        },
      });
      const { id } = startContainer(bundle);
      const lines = runOk(["exec", id, "cat", "/proc/self/cgroup"]).trim().split("\n");
      expect(lines.map((line) => line.replace(/^.*:/, ""))).toEqual(lines.map(() => "/"));
      runOk(["delete", "-f", id]);
    });
  }
});

describe("user namespace", () => {
  root("the process has the container's ids, and its mapping", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      },
    });
    const { id } = startContainer(bundle);
    const script = "id -u; id -G; cat /proc/self/uid_map";
    expect(runOk(["exec", "-u", "5:6", "-g", "7", id, "sh", "-c", script]).trim().split(/\s+/)).toEqual([
      "5",
      "6",
      "7",
      "0",
      "100000",
      "65536",
    ]);
    const file = join(scratch(), "pid");
    runDetached(["exec", "-d", "--pid-file", file, id, "sleep", "3702"]);
    expect(readFileSync(`/proc/${readFileSync(file, "utf8")}/status`, "utf8")).toMatch(/^Uid:\s+100000\s/m);
    runOk(["delete", "-f", id]);
  });

  own("an id that is not mapped is refused before anything starts", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 10 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 10 }];
      },
    });
    const { id } = startContainer(bundle);
    const result = run(["exec", "-u", "11", id, "true"]);
    expect(result.code).toBe(255);
    expect(result.stderr).toMatch(/process\.user.*(mapp|Mapp)/);
    runOk(["delete", "-f", id]);
  });
});

root("a hundred descriptors of the caller do not reach the process", () => {
  const fds = Array.from({ length: 100 }, () => openSync("/dev/null", "r"));
  const stdio = ["ignore", "pipe", "pipe", ...fds] as const;
  const result = spawnSync(RUNTIME, ["exec", container.id, "sh", "-c", "ls /proc/self/fd"], {
    stdio: [...stdio],
    encoding: "utf8",
  });
  for (const fd of fds) closeSync(fd);
  expect(result.stdout.trim().split("\n")).toEqual(["0", "1", "2", "3"]);
});

needs({ root: true, native: true })("twenty at once each have their own exit code", async () => {
  const started = Array.from({ length: 20 }, (_, i) => spawn(["exec", container.id, "sh", "-c", `exit ${i}`]));
  const codes = (await Promise.all(started.map((one) => one.exit))).map(({ code }) => code);
  expect(codes).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(readdirSync("/proc").length).toBeGreaterThan(0);
});
