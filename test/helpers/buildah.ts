/** buildah with tsrun as its runtime, in storage that is thrown away, and an image `localhost/built` that it built. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxTar } from "./engine-image.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Buildah {
  run(...args: string[]): Output;
  /** Fails unless it exits with 0. */
  ok(...args: string[]): Output;
  /** A command in a working container. */
  runIn(container: string, flags: readonly string[], ...command: string[]): Output;
  /** A shell where buildah is. */
  shell(script: string): Output;
  /** Builds the image, and makes a working container `c` of it. */
  build(): Output;
}

export const FLAGS = ["--runtime", RUNTIME, "--network=none"];
/** Where root may not raise its own limits, buildah's defaults fail under every runtime. */
const LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];

export const isSystemd = existsSync("/run/systemd/system");

export function startBuildah(): Buildah {
  const dir = scratch("buildah");
  const at = (name: string) => join(dir, name);
  for (const name of ["root", "run", "home/.config/containers", "net"]) mkdirSync(at(name), { recursive: true });
  const manager = `[engine]\ncgroup_manager = "${isSystemd ? "systemd" : "cgroupfs"}"\n`;
  writeFileSync(at("containers.conf"), `${manager}[network]\nnetwork_config_dir = "${at("net")}"\n`);
  const storage = `[storage]\ndriver = "vfs"\ngraphroot = "${at("root")}"\nrunroot = "${at("run")}"\n`;
  writeFileSync(at("storage.conf"), storage);
  writeFileSync(at("home/.config/containers/policy.json"), '{"default": [{"type": "insecureAcceptAnything"}]}');
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: at("home"),
    XDG_RUNTIME_DIR: at("run"),
    CONTAINERS_STORAGE_CONF: at("storage.conf"),
    CONTAINERS_CONF: at("containers.conf"),
    BUILDAH_ISOLATION: "oci",
  };
  // In a mount namespace of its own, where the places that buildah writes to are of the test.
  const before = "mkdir -p /run/containers /run/lock; mount -t tmpfs tmpfs /var/tmp; mount -t tmpfs tmpfs /var/cache";
  const inNamespace = (script: string, args: readonly string[]): Output => {
    const command = ["--mount", "sh", "-c", `${before}; ${script}`, "buildah", ...args];
    const child = spawnSync("unshare", command, { encoding: "utf8", env, cwd: dir, timeout: 240_000 });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  };
  const run = (...args: string[]) => inNamespace('exec buildah "$@"', args);
  const ok = (...args: string[]) => {
    const result = run(...args);
    if (result.code !== 0) throw new Error(`buildah ${args.join(" ")}: ${result.stderr}`);
    return result;
  };
  return {
    run,
    ok,
    runIn: (container, flags, ...command) => run("run", ...FLAGS, ...flags, container, "--", ...command),
    shell: (script) => inNamespace(script, []),
    build() {
      const context = scratch("context");
      spawnSync("cp", [busyboxTar(), join(context, "rootfs.tar")]);
      const lines = ["FROM scratch", "ADD rootfs.tar /", "RUN echo built by $(id -u) > /built", "RUN test -s /built"];
      writeFileSync(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
      const built = ok("bud", ...FLAGS, ...LIMITS, "-t", "built", context);
      ok("from", "--cgroupns=host", "--name", "c", "localhost/built");
      return built;
    },
  };
}
