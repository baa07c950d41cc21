/**
 * Under Podman, as its own runtime would be: an image made from busybox, in storage that is thrown away.
 *
 * In a mount namespace of its own: Podman wants to write where the sandbox leaves nothing writable.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { busyboxRootfs } from "../../helpers/bundle.ts";
import { missing } from "../../helpers/needs.ts";
import { RUNTIME, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, native: true, commands: ["podman", "unshare", "nsenter", "tar"] });

let env: Record<string, string>;
/** A process that holds the mount namespace. */
let holder: number;
let stop: () => void;

interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

function inside(command: string[], input?: string): Output {
  const args = ["--mount", "--target", String(holder), "--", ...command];
  const child = spawnSync("nsenter", args, { encoding: "utf8", env, input: input ?? "", timeout: 60_000 });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

const podman = (...args: string[]) => inside(["podman", "--runtime", RUNTIME, ...args]);

/**
 * Podman asks for the highest of RLIMIT_NOFILE and RLIMIT_NPROC that it can think of; where root may not raise its
 * own, as in most CI, that fails under every runtime.
 */
const LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
const NET = "--network=none";
const runArgs = (...args: string[]) => podman("run", "--rm", NET, ...LIMITS, ...args);

(reason === undefined ? describe : describe.skip)(`podman${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(async () => {
    const dir = scratch("podman");
    for (const name of ["root", "run", "home", "net"]) mkdirSync(join(dir, name));
    env = {
      PATH: process.env.PATH ?? "",
      HOME: join(dir, "home"),
      XDG_RUNTIME_DIR: join(dir, "run"),
      CONTAINERS_STORAGE_CONF: join(dir, "storage.conf"),
      CONTAINERS_CONF: join(dir, "containers.conf"),
    };
    writeFileSync(
      join(dir, "storage.conf"),
      `[storage]\ndriver = "vfs"\ngraphroot = "${join(dir, "root")}"\nrunroot = "${join(dir, "run")}"\n`,
    );
    writeFileSync(
      join(dir, "containers.conf"),
      `[engine]\nruntime_supports_json = ["tsrun", "crun", "runc"]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n[containers]\nlog_driver = "k8s-file"\n[network]\nnetwork_config_dir = "${join(dir, "net")}"\n`,
    );
    const policy = join(dir, "policy.json");
    writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}\n');
    const { spawn } = await import("node:child_process");
    // On a hybrid host podman 4 takes the unified hierarchy for v2.
    const script =
      "mount -t tmpfs t /var/cache && { umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; read x; }; podman unmount -a >/dev/null 2>&1; true";
    const shell = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await new Promise((resolve, reject) => {
      shell.stdout.once("data", resolve);
      shell.once("exit", () => reject(new Error("the mount namespace could not be made")));
    });
    holder = shell.pid ?? -1;
    stop = () => shell.stdin.end();
    const rootfs = scratch("image");
    busyboxRootfs(rootfs);
    const imported = inside([
      "sh",
      "-c",
      `tar -C ${rootfs} -c . | podman import --signature-policy ${policy} - bb || tar -C ${rootfs} -c . | podman import - bb`,
    ]);
    expect(imported.code, imported.stderr).toBe(0);
  }, 120_000);

  afterAll(() => {
    if (stop === undefined) return;
    podman("rm", "-f", "-a", "-t", "0");
    stop();
  });

  test("run prints what the container prints", () => {
    expect(runArgs("bb", "echo", "hi")).toEqual({ code: 0, stdout: "hi\n", stderr: "" });
  });

  test("exit codes: the program's, 126 and 127", () => {
    expect(runArgs("bb", "sh", "-c", "exit 5").code).toBe(5);
    expect(runArgs("bb", "nosuch").code).toBe(127);
    expect(runArgs("bb", "/nonexistent/program").code).toBe(127);
    expect(runArgs("bb", "/etc").code).toBe(126);
    expect(runArgs("bb", "/etc/passwd").code).toBe(126);
  });

  test("--sdnotify=container: whoever waits is told when the container is ready", () => {
    const socket = join(scratch("manager"), "notify.sock");
    const listen = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); bind($s, sockaddr_un(shift)); alarm 50;
      while (1) { recv($s, my $said, 4096, 0); print "$said|"; last if $said =~ /READY/ }`;
    const say = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); print "$ENV{NOTIFY_SOCKET}\\n";
      send($s, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or print "$!\\n"`;
    const machine = ["/usr", "/lib", "/lib64"]
      .filter((path) => existsSync(path))
      .map((path) => `-v ${path}:${path}:ro`);
    const { stdout, stderr } = inside([
      "sh",
      "-c",
      `perl -e '${listen}' ${socket} & until [ -S ${socket} ]; do sleep 0.02; done
       NOTIFY_SOCKET=${socket} podman --runtime ${RUNTIME} run --rm --sdnotify=container ${NET} ${LIMITS.join(" ")} \
         ${machine.join(" ")} bb perl -e '${say}'; wait`,
    ]);
    expect(stderr).toBe("");
    expect(stdout).toContain("/run/notify/notify.sock\n");
    expect(stdout).toMatch(/READY=1/);
  });

  test("standard input goes to the container", () => {
    expect(
      inside(["podman", "--runtime", RUNTIME, "run", "--rm", "-i", NET, ...LIMITS, "bb", "cat"], "to it").stdout,
    ).toBe("to it");
  });

  test("seccomp, capabilities, user, read-only root, environment and working directory are as asked", () => {
    const status = runArgs(
      "--cap-drop=all",
      "--cap-add=CHOWN",
      "--user=1000:1000",
      "bb",
      "cat",
      "/proc/self/status",
    ).stdout;
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m);
    expect(status).toMatch(/^CapBnd:\t0000000000000001$/m);
    expect(status).toMatch(/^CapEff:\t0000000000000001$/m);
    expect(runArgs("--read-only", "--read-only-tmpfs=false", "bb", "touch", "/x").stderr).toContain(
      "Read-only file system",
    );
    const seen = runArgs("-e", "A=b", "-w", "/tmp", "--hostname", "web", "bb", "sh", "-c", "echo $A $PWD $(hostname)");
    expect(seen.stdout, seen.stderr).toBe("b /tmp web\n");
    expect(runArgs("--privileged", "bb", "sh", "-c", "grep -c Seccomp:.0 /proc/self/status").stdout).toBe("1\n");
  });

  test("binds are mounted, read-only where asked", () => {
    const dir = scratch("volume");
    writeFileSync(join(dir, "file"), "bound\n");
    expect(runArgs("-v", `${dir}:/data`, "bb", "sh", "-c", "cat /data/file; echo new > /data/new").stdout).toBe(
      "bound\n",
    );
    expect(runArgs("-v", `${dir}:/data:ro`, "bb", "sh", "-c", "cat /data/new; echo x > /data/x").stdout).toBe("new\n");
    expect(runArgs("-v", `${dir}:/data:ro`, "bb", "touch", "/data/x").stderr).toContain("Read-only file system");
  });

  test("limits are those of the container's cgroup", () => {
    const show =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    expect(runArgs("--memory=64m", "--pids-limit=33", "bb", "sh", "-c", show).stdout).toBe("67108864\n33\n");
  });

  test("a tmpfs that is to hold what the image has there is refused by name, as it comes later", () => {
    const { code, stderr } = runArgs("--tmpfs", "/data", "bb", "true");
    if (code === 0) return; // It came.
    expect(stderr).toContain("tmpcopyup");
    expect(stderr).toMatch(/not supported|later|release/);
  });

  test("a terminal is one", () => {
    const command = `podman --runtime ${RUNTIME} run --rm -t ${NET} ${LIMITS.join(" ")} bb sh -c 'tty; test -t 1 && echo yes'`;
    const { stdout } = inside(["script", "-qec", command, "/dev/null"]);
    expect(stdout.replaceAll("\r", "")).toBe("/dev/pts/0\nyes\n");
  });

  test("detached: ps, exec, logs, kill and stop", async () => {
    const name = "web";
    const script = "trap 'echo bye; exit 3' TERM; echo started; while :; do sleep 0.1; done";
    const started = podman("run", "-d", "--name", name, NET, ...LIMITS, "bb", "sh", "-c", script);
    expect(started.code, started.stderr).toBe(0);
    expect(podman("ps", "--format", "{{.Names}} {{.Status}}").stdout).toMatch(/^web Up /);
    expect(podman("exec", name, "sh", "-c", "echo in $(hostname | wc -c); exit 4")).toMatchObject({
      code: 4,
      stdout: "in 13\n",
    });
    expect(
      podman("exec", "--user", "1000", "-e", "X=y", "-w", "/tmp", name, "sh", "-c", "id -u; echo $X $PWD").stdout,
    ).toBe("1000\ny /tmp\n");
    expect(podman("exec", name, "nosuch").code).toBe(127);
    expect(podman("top", name, "pid").stdout).toMatch(/^PID\n1\n/);
    await until(() => podman("logs", name).stdout.includes("started"), "its output is in the log");
    expect(podman("stop", "-t", "5", name).code).toBe(0);
    expect(podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).stdout).toBe("exited 3\n");
    expect(podman("logs", name).stdout).toBe("started\nbye\n");
    expect(podman("start", name).code).toBe(0);
    expect(podman("kill", name).code).toBe(0);
    await until(
      () => podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout === "137\n",
      "podman knows that it was killed",
    );
    expect(podman("rm", name).code).toBe(0);
    expect(podman("ps", "-a", "-q").stdout).toBe("");
  }, 120_000);
});
