/** Under containerd, by its own client ctr, in runc's place. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Containerd, RUNTIME_FLAGS, startContainerd } from "../../helpers/containerd.ts";
import { busyboxTar, ociArchive } from "../../helpers/engine-image.ts";
import { missing } from "../../helpers/needs.ts";
import { cgroupsNamed, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, native: true, commands: ["containerd", "ctr"] });
let engine: Containerd;

const runArgs = (id: string, flags: string[], ...command: string[]) => engine.runTask(id, flags, ...command);
const ok = (...args: string[]) => engine.ok(...args);

(reason === undefined ? describe : describe.skip)(`containerd${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(async () => {
    engine = await startContainerd();
  }, 60_000);
  afterAll(() => engine?.stop(), 30_000);

  test("a command runs, with its input and its exit code", () => {
    expect(runArgs("hi", [], "echo", "hi")).toMatchObject({ code: 0, stdout: "hi\n" });
    expect(runArgs("seven", [], "sh", "-c", "exit 7").code).toBe(7);
  });

  test("a command that is missing is told in the words that engines look for", () => {
    const result = runArgs("missing", [], "nosuch");
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('exec: "nosuch": executable file not found in $PATH');
  });

  test("limits, mounts and seccomp", () => {
    const flags = ["--memory-limit", "67108864", "--seccomp"];
    const script = "grep Seccomp: /proc/self/status | tr '\\t' ' '; touch /share/x 2>/dev/null || echo ro";
    const mount = ["--mount", "type=bind,src=/usr/share,dst=/share,options=rbind:ro"];
    expect(runArgs("limits", [...flags, ...mount], "sh", "-c", script).stdout).toBe("Seccomp: 2\nro\n");
  });

  test("working directory, capabilities, no new privileges, a read-only root with a tmpfs in it", () => {
    const status = "grep -E 'Uid|CapEff|NoNewPrivs' /proc/self/status | tr '\\t' ' '";
    const script = `${status}; pwd; touch /tmp/x && touch /x 2>/dev/null || echo read-only; df -k /tmp | tail -n 1`;
    const tmpfs = ["--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=size=1m"];
    const flags = ["--cwd", "/etc", "--read-only", ...tmpfs];
    expect(runArgs("tight", flags, "sh", "-c", script).stdout.replaceAll(/ +/g, " ")).toMatch(
      /^Uid: 0 0 0 0\nCapEff: [0-9a-f]{16}\nNoNewPrivs: 1\n\/etc\nread-only\ntmpfs 1024 0 1024 0% \/tmp\n$/,
    );
    const caps = ["--cap-drop", "CAP_CHOWN", "--cap-add", "CAP_SYS_TIME", "--allow-new-privs"];
    const usual = runArgs("caps", [], "sh", "-c", status).stdout;
    const other = runArgs("othercaps", caps, "sh", "-c", status).stdout;
    expect(other).toContain("NoNewPrivs: 0");
    const set = (text: string) => BigInt(`0x${/^CapEff: (\S+)$/m.exec(text)?.[1]}`);
    expect(set(usual) ^ set(other)).toBe((1n << 0n) | (1n << 25n));
  });

  test("a bind hears of later mounts as slave, and tells of its own as shared", () => {
    const dir = scratch("shared");
    for (const name of ["theirs", "ours"]) mkdirSync(join(dir, name));
    const shell = (script: string) => spawnSync("sh", ["-ec", script], { encoding: "utf8" }).stderr;
    const bind = (how: string) => ["--mount", `type=bind,src=${dir},dst=/m,options=rbind:${how}`];
    expect(shell(`mount --bind ${dir} ${dir}; mount --make-rshared ${dir}`)).toBe("");
    try {
      engine.startTask("hears", bind("rslave"), "sleep", "1000");
      const tells = [...bind("rshared"), "--privileged", "--rootfs-propagation", "shared"];
      engine.startTask("tells", tells, "sleep", "1000");
      expect(shell(`mount -t tmpfs t ${dir}/theirs; echo from outside >${dir}/theirs/file`)).toBe("");
      expect(engine.exec("hears", [], "cat", "/m/theirs/file")).toBe("from outside\n");
      const mount = "mount -t tmpfs t /m/ours && echo from inside >/m/ours/file";
      ok("task", "exec", "--exec-id", "mount", "tells", "sh", "-c", mount);
      expect(readFileSync(join(dir, "ours/file"), "utf8")).toBe("from inside\n");
      expect(engine.exec("hears", [], "cat", "/m/ours/file")).toBe("from inside\n");
    } finally {
      for (const id of ["hears", "tells"]) {
        engine.ctr(["task", "delete", "--force", id]);
        engine.ctr(["container", "delete", id]);
      }
      shell(`umount ${dir}/ours; umount ${dir}/theirs; umount ${dir}`);
    }
  });

  test("detached: exec, ps, metrics, pause, resume, kill, delete", async () => {
    engine.startTask("long", [], "sleep", "1000");
    expect(engine.taskStatus("long")).toBe("RUNNING");
    expect(engine.exec("long", [], "echo", "in")).toBe("in\n");
    expect(engine.ctr(["task", "exec", "--exec-id", "e2", "long", "sh", "-c", "exit 9"]).code).toBe(9);
    const as = ["--user", "5:6", "--cwd", "/etc"];
    expect(engine.exec("long", as, "sh", "-c", "id -u; id -g; pwd")).toBe("5\n6\n/etc\n");
    expect(ok("task", "ps", "long")).toMatch(/^\d+/m);
    expect(ok("task", "metrics", "long")).toMatch(/memory/);
    ok("task", "pause", "long");
    expect(engine.taskStatus("long")).toBe("PAUSED");
    ok("task", "resume", "long");
    ok("task", "kill", "-s", "SIGKILL", "long");
    await until(() => engine.taskStatus("long") === "STOPPED", "the task is stopped");
    ok("task", "delete", "long");
    ok("container", "delete", "long");
    expect(ok("container", "ls", "-q")).toBe("");
  });

  test("a terminal", () => {
    const { address, rootfs } = engine;
    const script = `ctr --address ${address} run --rm -t ${RUNTIME_FLAGS.join(" ")} --rootfs ${rootfs} tty sh -c 'test -t 0 && echo tty'`;
    const result = spawnSync("script", ["-qec", script, "/dev/null"], { encoding: "utf8", timeout: 30_000 });
    expect(result.stdout).toContain("tty");
  });

  test("running out of memory is an event", async () => {
    const events = engine.events();
    const limits = ["--memory-limit", String(24 << 20)];
    expect(runArgs("hungry", limits, "sh", "-c", "head -c 200m /dev/zero | tail").code).not.toBe(0);
    await until(() => events.text().includes("/tasks/oom"), "the engine tells of it");
    events.stop();
  });

  test("stop: SIGTERM ends it, and whoever waits has its exit code", async () => {
    const script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    const flags = ["--address", engine.address, "run", "--rm", ...RUNTIME_FLAGS, "--rootfs", engine.rootfs];
    const child = spawn("ctr", [...flags, "stopped", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
    const code = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    ok("task", "kill", "-s", "SIGTERM", "stopped");
    expect(await code).toBe(5);
  });

  test("a user namespace has the ids that are asked for, and owns the image's files", () => {
    const image = "localhost/busybox:test";
    ok("image", "import", ociArchive(busyboxTar(), image, ["sh"]));
    const maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:300000:65536"];
    const script = "cat /proc/self/uid_map /proc/self/gid_map; stat -c '%u %g' /etc; touch /x && echo written";
    const flags = ["--rm", "--snapshotter", "native", ...RUNTIME_FLAGS, ...maps];
    expect(ok("run", ...flags, image, "mapped", "sh", "-c", script).replaceAll(/ +/g, " ")).toBe(
      " 0 200000 65536\n 0 300000 65536\n0 0\nwritten\n",
    );
  });

  test("twenty at once", () => {
    const run = `ctr --address ${engine.address} run --rm ${RUNTIME_FLAGS.join(" ")} --rootfs ${engine.rootfs}`;
    const script = `for i in $(seq 20); do ${run} many$i echo c$i & done; wait`;
    const { stdout, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect(stdout.trim().split("\n").sort(), stderr).toEqual(Array.from({ length: 20 }, (_, i) => `c${i + 1}`).sort());
  });

  test("nothing is left when the tasks are gone", () => {
    expect(ok("container", "ls", "-q")).toBe("");
    expect(cgroupsNamed("many")).toEqual([]);
  });
});
