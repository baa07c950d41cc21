/** Under buildah, in runc's place: the commands of a build run in it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { busyboxTar } from "../../helpers/engine-image.ts";
import { missing } from "../../helpers/needs.ts";
import { RUNTIME } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({ root: true, tsrun: true, commands: ["buildah", "unshare"] });
const isSystemd = existsSync("/run/systemd/system");
let env: Record<string, string>;
let dir: string;

const FLAGS = ["--runtime", RUNTIME, "--network=none"];
/** Where root may not raise its own limits, buildah's defaults fail under every runtime. */
const LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];

/** In a mount namespace of its own, where the places that buildah writes to are of the test. */
function inNamespace(script: string, args: string[]) {
  const before = "mkdir -p /run/containers /run/lock; mount -t tmpfs tmpfs /var/tmp; mount -t tmpfs tmpfs /var/cache";
  const child = spawnSync("unshare", ["--mount", "sh", "-c", `${before}; ${script}`, "buildah", ...args], {
    encoding: "utf8",
    env,
    cwd: dir,
    timeout: 240_000,
  });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

/** With `script`, in a terminal. */
function buildah(args: string[], terminal?: "script") {
  const quoted = ["buildah", ...args].map((arg) => `'${arg}'`).join(" ");
  if (terminal === "script") return inNamespace('exec script -qec "$1" /dev/null', [quoted]);
  return inNamespace('exec buildah "$@"', args);
}

function ok(...args: string[]) {
  const result = buildah(args);
  expect(result.code, `buildah ${args.join(" ")}: ${result.stderr}`).toBe(0);
  return result;
}

const runIn = (container: string, flags: string[], ...command: string[]) =>
  buildah(["run", ...FLAGS, ...flags, container, "--", ...command]);

(reason === undefined ? describe : describe.skip)(`buildah${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(() => {
    dir = scratch("buildah");
    for (const name of ["root", "run", "home/.config/containers", "net"])
      mkdirSync(join(dir, name), { recursive: true });
    env = {
      PATH: process.env.PATH ?? "",
      HOME: join(dir, "home"),
      XDG_RUNTIME_DIR: join(dir, "run"),
      CONTAINERS_STORAGE_CONF: join(dir, "storage.conf"),
      CONTAINERS_CONF: join(dir, "containers.conf"),
      BUILDAH_ISOLATION: "oci",
    };
    const manager = `[engine]\ncgroup_manager = "${isSystemd ? "systemd" : "cgroupfs"}"\n`;
    writeFileSync(join(dir, "containers.conf"), `${manager}[network]\nnetwork_config_dir = "${join(dir, "net")}"\n`);
    const storage = `driver = "vfs"\ngraphroot = "${join(dir, "root")}"\nrunroot = "${join(dir, "run")}"`;
    writeFileSync(join(dir, "storage.conf"), `[storage]\n${storage}\n`);
    writeFileSync(
      join(dir, "home/.config/containers/policy.json"),
      '{"default": [{"type": "insecureAcceptAnything"}]}',
    );
  });

  test("a build runs its commands, and the image has what they wrote", () => {
    const context = scratch("context");
    spawnSync("cp", [busyboxTar(), join(context, "rootfs.tar")]);
    const lines = ["FROM scratch", "ADD rootfs.tar /", "RUN echo built by $(id -u) > /built", "RUN test -s /built"];
    writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
    const built = ok("bud", ...FLAGS, ...LIMITS, "-t", "built", context);
    expect(built.stderr).not.toContain("tsrun:");
    ok("from", "--cgroupns=host", "--name", "c", "localhost/built");
    expect(runIn("c", [], "cat", "/built").stdout).toBe("built by 0\n");
    expect(runIn("c", [], "sh", "-c", "exit 3").code).toBe(3);
    const cgroup = runIn("c", [], "cat", "/proc/self/cgroup");
    expect(cgroup.stdout).toMatch(isSystemd ? /^0::\/.*\.slice\/.*\.scope$/m : /:\/.*buildah-/);
  });

  test("what a command writes is in the image that commit makes", () => {
    expect(runIn("c", [], "sh", "-c", "echo written > /new").code).toBe(0);
    ok("commit", "-q", "c", "committed");
    ok("from", "--name", "again", "localhost/committed");
    expect(runIn("again", [], "cat", "/new", "/built").stdout).toBe("written\nbuilt by 0\n");
  });

  test("limits, seccomp and capabilities are those of the working container", () => {
    const limits = ["-m", "64m", "--cpu-quota", "50000"];
    ok("from", ...limits, "--security-opt", "seccomp=unconfined", "--name", "limited", "localhost/built");
    const cgroup = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max";
    const status = "grep -E 'CapEff|Seccomp:' /proc/self/status | tr '\\t' ' '";
    const seen = runIn("limited", ["--cap-drop=CAP_CHOWN"], "sh", "-c", `${status}; ${cgroup} 2>/dev/null || :`);
    expect(seen.stdout, seen.stderr).toMatch(
      new RegExp(`^CapEff: [0-9a-f]{16}\\nSeccomp: 0\\n${64 << 20}\\n50000( 100000)?\\n$`),
    );
    const usual = runIn("c", [], "sh", "-c", status).stdout;
    expect(usual).toContain("Seccomp: 2\n");
    const capabilities = (text: string) => BigInt(`0x${/^CapEff: (\S+)$/m.exec(text)?.[1]}`);
    expect(capabilities(seen.stdout) ^ capabilities(usual)).toBe(1n << 0n);
  });

  test("user, working directory, environment, binds, a tmpfs and a terminal", () => {
    const dir = scratch("bound");
    writeFileSync(join(dir, "file"), "bound\n");
    const flags = ["--user", "5:6", "--workingdir", "/etc", "--env", "A=b", "-v", `${dir}:/data:ro`];
    const tmpfs = ["--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1048576,tmpfs-mode=1777"];
    const script =
      "id -u; id -g; pwd; echo $A; cat /data/file; touch /scratch/x && touch /data/x 2>/dev/null || echo read-only; df -k /scratch | tail -n 1";
    const { stdout, stderr } = runIn("c", [...flags, ...tmpfs], "sh", "-c", script);
    expect(stdout.replaceAll(/ +/g, " "), stderr).toBe(
      "5\n6\n/etc\nb\nbound\nread-only\ntmpfs 1024 0 1024 0% /scratch\n",
    );
    const terminal = buildah(["run", "-t", ...FLAGS, "c", "--", "sh", "-c", "test -t 0 && echo yes"], "script");
    expect(terminal.stdout, terminal.stderr).toContain("yes");
  });

  test("a user namespace has the ids that are asked for, and owns the image's files", () => {
    const maps = ["--userns-uid-map", "0:200000:65536", "--userns-gid-map", "0:300000:65536"];
    ok("from", ...maps, "--name", "mapped", "localhost/built");
    const script = "cat /proc/self/uid_map /proc/self/gid_map; stat -c '%u %g' /etc; touch /etc/x && echo written";
    const { stdout, stderr } = runIn("mapped", [], "sh", "-c", script);
    expect(stdout.replaceAll(/ +/g, " "), stderr).toBe(" 0 200000 65536\n 0 300000 65536\n0 0\nwritten\n");
  });

  test("twenty at once", () => {
    const run = `buildah run ${FLAGS.join(" ")} c -- echo`;
    const { stdout, stderr } = inNamespace(`for i in $(seq 20); do ${run} c$i & done; wait`, []);
    expect(stdout.trim().split("\n").sort(), stderr).toEqual(Array.from({ length: 20 }, (_, i) => `c${i + 1}`).sort());
  });
});
