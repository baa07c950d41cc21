/** Under Docker, in runc's place. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Docker, IMAGE, startDocker } from "../../helpers/docker.ts";
import { makeLayout } from "../../helpers/images.ts";
import { missing } from "../../helpers/needs.ts";
import { ENGINE_MS } from "../../helpers/patience.ts";
import { runOk, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, native: true, commands: ["dockerd", "docker", "tar"] });
let engine: Docker;

const docker = (args: string[], input = "") => engine.run(args, input);
const ok = (args: string[]) => engine.ok(args);
const runArgs = (...args: string[]) => docker(["run", "--rm", "--network=none", ...args]);
const detached = (...args: string[]) => ok(["run", "-d", "--network=none", ...args]);

(reason === undefined ? describe : describe.skip)(`docker${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(async () => {
    engine = await startDocker();
  }, 90_000);
  afterAll(() => engine?.stop(), 60_000);

  test("a command runs, with its input, its output and its exit code", () => {
    expect(runArgs(IMAGE, "echo", "hi")).toMatchObject({ code: 0, stdout: "hi\n" });
    expect(runArgs(IMAGE, "sh", "-c", "exit 7").code).toBe(7);
    expect(docker(["run", "--rm", "-i", "--network=none", IMAGE, "cat"], "input\n").stdout).toBe("input\n");
  });

  test("a command that is missing is 127, one that may not be executed 126", () => {
    expect(runArgs(IMAGE, "nosuch")).toMatchObject({
      code: 127,
      stderr: expect.stringContaining("not found in $PATH"),
    });
    expect(runArgs(IMAGE, "/etc/passwd").code).toBe(126);
  });

  test("users, groups, working directory, environment, host name, read-only root", () => {
    const script = "id -u; id -g; pwd; echo $A; hostname; touch /x 2>/dev/null || echo read-only";
    const flags = ["--user", "5:6", "-w", "/tmp", "-e", "A=b", "--hostname", "web", "--read-only"];
    expect(runArgs(...flags, IMAGE, "sh", "-c", script).stdout).toBe("5\n6\n/tmp\nb\nweb\nread-only\n");
  });

  test("capabilities, seccomp and no-new-privileges", () => {
    const show = "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status | tr '\\t' ' '";
    const usual = runArgs(IMAGE, "sh", "-c", show).stdout;
    expect(usual).toContain("Seccomp: 2");
    const tight = runArgs("--cap-drop=ALL", "--security-opt=no-new-privileges", IMAGE, "sh", "-c", show).stdout;
    expect(tight).toContain("CapEff: 0000000000000000");
    expect(tight).toContain("NoNewPrivs: 1");
    const open = runArgs("--security-opt=seccomp=unconfined", IMAGE, "sh", "-c", show).stdout;
    expect(open).toContain("Seccomp: 0");
  });

  test("tmpfs, binds and volumes", () => {
    const flags = ["--tmpfs", "/scratch:size=1m", "-v", "vol:/data", "-v", "/usr/share:/share:ro"];
    const script = "echo kept > /data/file; touch /scratch/x && touch /share/x 2>/dev/null || echo bind is read-only";
    expect(runArgs(...flags, IMAGE, "sh", "-c", script).stdout).toBe("bind is read-only\n");
    expect(runArgs("-v", "vol:/data", IMAGE, "cat", "/data/file").stdout).toBe("kept\n");
  });

  test("a bind hears of later mounts as slave, and tells of its own as shared", () => {
    const dir = scratch("shared");
    for (const name of ["theirs", "ours"]) mkdirSync(join(dir, name));
    const shell = (script: string) => spawnSync("sh", ["-ec", script], { encoding: "utf8" }).stderr;
    expect(shell(`mount --bind ${dir} ${dir}; mount --make-rshared ${dir}`)).toBe("");
    try {
      const hears = detached("-v", `${dir}:/m:rslave`, IMAGE, "sleep", "1000");
      const tells = detached("-v", `${dir}:/m:rshared`, "--privileged", IMAGE, "sleep", "1000");
      expect(shell(`mount -t tmpfs t ${dir}/theirs; echo from outside >${dir}/theirs/file`)).toBe("");
      expect(ok(["exec", hears, "cat", "/m/theirs/file"])).toBe("from outside");
      ok(["exec", tells, "sh", "-c", "mount -t tmpfs t /m/ours && echo from inside >/m/ours/file"]);
      expect(readFileSync(join(dir, "ours/file"), "utf8")).toBe("from inside\n");
      expect(ok(["exec", hears, "cat", "/m/ours/file"])).toBe("from inside");
      ok(["rm", "-f", hears, tells]);
    } finally {
      shell(`umount ${dir}/ours || :; umount ${dir}/theirs || :; umount ${dir}`);
    }
  });

  test("kill sends the signal that is asked for, stop SIGTERM, restart starts it anew", async () => {
    const script = "trap 'echo one' USR1; trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    const id = detached(IMAGE, "sh", "-c", script);
    const logs = (text: string) => until(() => ok(["logs", id]) === text, text);
    await logs("ready");
    ok(["kill", "-s", "USR1", id]);
    await logs("ready\none");
    ok(["stop", "-t", "30", id]);
    expect(ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id])).toBe("exited 5");
    ok(["start", id]);
    await logs("ready\none\nready");
    ok(["restart", "-t", "30", id]);
    await logs("ready\none\nready\nready");
    ok(["kill", id]);
    expect(ok(["wait", id])).toBe("137");
    ok(["rm", id]);
  });

  test("exec, top, stats, pause, update, stop with the signal's exit code", () => {
    const id = detached("-m", "64m", "--pids-limit", "50", IMAGE, "sleep", "1000");
    expect(ok(["exec", id, "echo", "in"])).toBe("in");
    expect(docker(["exec", id, "sh", "-c", "exit 9"]).code).toBe(9);
    // Which of the two it is has changed between versions of Docker.
    expect([126, 127]).toContain(docker(["exec", id, "nosuch"]).code);
    expect(ok(["top", id])).toContain("sleep 1000");
    expect(ok(["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", id])).toMatch(/64MiB \d/);
    ok(["pause", id]);
    expect(ok(["inspect", "-f", "{{.State.Status}}", id])).toBe("paused");
    ok(["unpause", id]);
    ok(["update", "-m", "96m", "--memory-swap", "192m", id]);
    expect(ok(["stats", "--no-stream", "--format", "{{.MemUsage}}", id])).toContain("96MiB");
    ok(["stop", "-t", "0", id]);
    expect(ok(["inspect", "-f", "{{.State.ExitCode}}", id])).toBe("137");
    ok(["rm", id]);
  });

  test("a terminal", () => {
    expect(runArgs("-t", IMAGE, "sh", "-c", "test -t 0 && echo tty").stdout).toContain("tty");
  });

  test("--init is process 1, and a restart is a new process of the same container", () => {
    expect(runArgs("--init", IMAGE, "ps").stdout).toContain("docker-init");
    const id = detached("--restart=on-failure:2", IMAGE, "sh", "-c", "echo run >> /runs; exit 1");
    expect(ok(["wait", id])).toBe("1");
    const count = () => docker(["inspect", "-f", "{{.RestartCount}}", id]).stdout.trim();
    for (let i = 0; i < 200 && count() !== "2"; i++) spawnSync("sleep", ["0.05"]);
    expect(count()).toBe("2");
    ok(["rm", "-f", id]);
  });

  test("running out of memory is reported as such", () => {
    const id = detached("-m", "24m", "--memory-swap", "24m", IMAGE, "sh", "-c", "head -c 200m /dev/zero | tail");
    ok(["wait", id]);
    expect(ok(["inspect", "-f", "{{.State.OOMKilled}}", id])).toBe("true");
    ok(["rm", id]);
  });

  test("commit makes an image of what the container wrote", () => {
    const id = detached(IMAGE, "sh", "-c", "echo written > /new");
    ok(["wait", id]);
    ok(["commit", id, "tsrun-committed"]);
    expect(runArgs("tsrun-committed", "cat", "/new").stdout).toBe("written\n");
    ok(["rm", id]);
  });

  test("a health check runs in the container", () => {
    const id = detached("--health-cmd=true", "--health-interval=1s", IMAGE, "sleep", "1000");
    const health = () => docker(["inspect", "-f", "{{.State.Health.Status}}", id]).stdout.trim();
    for (let i = 0; i < 100 && health() !== "healthy"; i++) spawnSync("sleep", ["0.1"]);
    expect(health()).toBe("healthy");
    ok(["rm", "-f", id]);
  });

  test("twenty at once", { timeout: ENGINE_MS + 10_000 }, async () => {
    const script = `for i in $(seq 20); do docker run --rm --network=none ${IMAGE} echo c$i & done; wait`;
    const result = spawnSync("sh", ["-c", script], { encoding: "utf8", env: engine.env, timeout: ENGINE_MS });
    expect(result.stdout.trim().split("\n").sort()).toEqual(Array.from({ length: 20 }, (_, i) => `c${i + 1}`).sort());
  });

  test.skipIf(missing({ commands: ["umoci"] }) !== undefined)(
    "loads what `image save` wrote, and what it saves comes back as the same image of the same layers",
    () => {
      const dir = scratch("images");
      const store = (name: string) => ["--store", join(dir, name)];
      const inspect = (name: string) => JSON.parse(runOk(["image", "inspect", ...store(name), "web:v1"]));
      runOk(["image", "import", "-q", ...store("one"), makeLayout(dir)]);
      runOk(["image", "save", ...store("one"), "--format", "docker-archive", "-o", join(dir, "ours.tar"), "web:v1"]);
      const { id, config } = inspect("one");
      expect(ok(["load", "-i", join(dir, "ours.tar")])).toContain("web:v1");
      expect(ok(["inspect", "-f", "{{.Id}}", "web:v1"])).toBe(id);
      expect(JSON.parse(ok(["inspect", "-f", "{{json .RootFS.Layers}}", "web:v1"]))).toEqual(config.rootfs.diff_ids);
      expect(runArgs("web:v1", "ls", "/srv/sub").stdout).toBe("new\n");

      ok(["save", "-o", join(dir, "theirs.tar"), "web:v1"]);
      runOk(["image", "import", "-q", ...store("two"), join(dir, "theirs.tar")]);
      expect(inspect("two")).toEqual(inspect("one"));
      expect(runOk(["layer", "check", ...store("two")])).toBe("");
      // And so does a layer that Docker made: its tar is one of Go's.
      const container = detached(
        "--user=0",
        "web:v1",
        "sh",
        "-c",
        "rm /srv/kept; echo written > /srv/new; mkdir /srv/d; chmod 700 /srv/d",
      );
      ok(["wait", container]);
      ok(["commit", container, "web:v2"]);
      ok(["rm", container]);
      ok(["save", "-o", join(dir, "committed.tar"), "web:v2"]);
      runOk(["image", "import", "-q", ...store("two"), join(dir, "committed.tar")]);
      const committed = JSON.parse(runOk(["image", "inspect", ...store("two"), "web:v2"]));
      expect(committed.id).toBe(ok(["inspect", "-f", "{{.Id}}", "web:v2"]));
      runOk(["image", "save", ...store("two"), "--format", "docker-archive", "-o", join(dir, "again.tar"), "web:v2"]);
      ok(["rmi", "-f", "web:v2", "web:v1"]);
      ok(["load", "-i", join(dir, "again.tar")]);
      expect(ok(["inspect", "-f", "{{.Id}}", "web:v2"])).toBe(committed.id);
      expect(runArgs("web:v2", "ls", "/srv").stdout).not.toContain("kept");
      ok(["rmi", "-f", "web:v2"]);
    },
  );

  test("nothing is left when the containers are gone", () => {
    expect(ok(["ps", "-aq"])).toBe("");
  });
});
