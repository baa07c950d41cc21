/**
 * Bundles for tests: a busybox root filesystem and the config.json that `runc spec` writes, changed by
 * what the test asks for.
 *
 *     const bundle = makeBundle({ args: ["sh", "-c", "exit 3"], edit: (spec) => { spec.hostname = "web"; } });
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Mount, Spec } from "../../src/spec/types.ts";
import { scratch } from "./scratch.ts";

export interface BundleRequest {
  /** What runs; by default `true`. */
  args?: string[];
  env?: string[];
  terminal?: boolean;
  /** Mounts after those of the default config. */
  mounts?: Mount[];
  /** `runc spec --rootless` in place of `runc spec`. */
  rootless?: boolean;
  /** Anything else. */
  edit?: (spec: FullSpec) => void;
  /** Fill the rootfs with something else than busybox. */
  rootfs?: (path: string) => void;
}

/** The default config has these sections, so a test need not ask whether they are there. */
export type FullSpec = Spec & Required<Pick<Spec, "process" | "root" | "mounts" | "linux">>;

export interface Bundle {
  path: string;
  rootfs: string;
  spec: FullSpec;
  /** Changes the spec and writes config.json again. */
  edit(change: (spec: FullSpec) => void): void;
}

export function makeBundle(request: BundleRequest = {}): Bundle {
  const path = scratch("bundle");
  const rootfs = join(path, "rootfs");
  mkdirSync(rootfs);
  (request.rootfs ?? busyboxRootfs)(rootfs);
  const spec = defaultConfig(request.rootless ? "runc-spec-rootless" : "runc-spec");
  spec.root.readonly = false;
  spec.process.terminal = request.terminal ?? false;
  spec.process.args = request.args ?? ["true"];
  if (request.env !== undefined) spec.process.env = request.env;
  spec.mounts.push(...(request.mounts ?? []));
  request.edit?.(spec);
  const write = () => writeFileSync(join(path, "config.json"), `${JSON.stringify(spec, null, 2)}\n`);
  write();
  return {
    path,
    rootfs,
    spec,
    edit(change) {
      change(spec);
      write();
    },
  };
}

/** What Debian's `runc spec` prints, unchanged. */
export function defaultConfig(name: "runc-spec" | "runc-spec-rootless" = "runc-spec"): FullSpec {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8"));
}

/** A static busybox: Debian's busybox-static, which scripts/test.mjs installs. */
export const BUSYBOX = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path)) ?? "/bin/busybox";

let applets: string[] | undefined;
let template: string | undefined;

/** Every applet of busybox, the usual directories, root and one user `app` of uid 1000. */
export function busyboxRootfs(rootfs: string): void {
  for (const dir of ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "home", "usr", "var", "run", "mnt"]) {
    mkdirSync(join(rootfs, dir), { recursive: true });
  }
  chmodSync(join(rootfs, "tmp"), 0o1777);
  // One copy for all rootfs of this process, hard-linked: two megabytes for each would fill a tmpfs.
  if (template === undefined || !existsSync(template)) {
    template = join(scratch("busybox"), "busybox");
    copyFileSync(BUSYBOX, template);
    chmodSync(template, 0o755);
  }
  linkSync(template, join(rootfs, "bin/busybox"));
  applets ??= spawnSync(BUSYBOX, ["--list"], { encoding: "utf8" }).stdout.split("\n");
  for (const name of applets) {
    if (name !== "" && name !== "busybox") symlinkSync("busybox", join(rootfs, "bin", name));
  }
  symlinkSync("../bin", join(rootfs, "usr/bin"));
  symlinkSync("bin", join(rootfs, "sbin"));
  writeFileSync(join(rootfs, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n");
  writeFileSync(join(rootfs, "etc/group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app\n");
}
