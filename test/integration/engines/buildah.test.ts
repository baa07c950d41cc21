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

/** In a mount namespace of its own, where the places that buildah writes to are of the test. */
function buildah(args: string[]) {
  const script = 'mkdir -p /run/containers /run/lock; mount -t tmpfs tmpfs /var/tmp; exec buildah "$@"';
  const child = spawnSync("unshare", ["--mount", "sh", "-c", script, "buildah", ...args], {
    encoding: "utf8",
    env,
    cwd: dir,
    timeout: 240_000,
  });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

(reason === undefined ? describe : describe.skip)(`buildah${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(() => {
    dir = scratch("buildah");
    for (const name of ["root", "run", "home", "net"]) mkdirSync(join(dir, name));
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
    writeFileSync(join(dir, "policy.json"), '{"default": [{"type": "insecureAcceptAnything"}]}');
  });

  test("a build runs its commands, and the image has what they wrote", () => {
    const context = scratch("context");
    spawnSync("cp", [busyboxTar(), join(context, "rootfs.tar")]);
    const lines = ["FROM scratch", "ADD rootfs.tar /", "RUN echo built by $(id -u) > /built", "RUN test -s /built"];
    writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
    const flags = ["--runtime", RUNTIME, "--network=none", "--signature-policy", join(dir, "policy.json")];
    const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    const built = buildah(["bud", ...flags, ...limits, "-t", "built", context]);
    expect(built.stderr).not.toContain("tsrun:");
    expect(built.code, built.stderr).toBe(0);
    const from = buildah([
      "from",
      "--signature-policy",
      join(dir, "policy.json"),
      "--cgroupns=host",
      "--name",
      "c",
      "localhost/built",
    ]);
    expect(from.code, from.stderr).toBe(0);
    const run = buildah(["run", "--runtime", RUNTIME, "--network=none", "c", "--", "cat", "/built"]);
    expect(run, run.stderr).toMatchObject({ code: 0, stdout: "built by 0\n" });
    expect(buildah(["run", "--runtime", RUNTIME, "--network=none", "c", "--", "sh", "-c", "exit 3"]).code).toBe(3);
    const cgroup = buildah(["run", "--runtime", RUNTIME, "--network=none", "c", "--", "cat", "/proc/self/cgroup"]);
    expect(cgroup.stdout).toMatch(isSystemd ? /^0::\/.*\.slice\/.*\.scope$/m : /:\/.*buildah-/);
  });
});
