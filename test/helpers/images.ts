/** Images made by umoci and skopeo, as a user has them. */
import { spawnSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxRootfs } from "./bundle.ts";

/** Runs a program of the host, and gives its standard output; fails with what it said. */
export function tool(command: string, args: readonly string[], cwd?: string): string {
  const result = spawnSync(command, args, { encoding: "utf8", cwd, maxBuffer: 1 << 27 });
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${result.stderr || result.error}`);
  return result.stdout;
}

/** An OCI image layout `<dir>/web` with the tag v1 and two layers: busybox, and one that changes and deletes. */
export function makeLayout(dir: string): string {
  const layout = join(dir, "web");
  const umoci = (...args: string[]) => tool("umoci", args, dir);
  umoci("init", "--layout", layout);
  umoci("new", "--image", `${layout}:v1`);
  const change = (edit: (rootfs: string) => void) => {
    const bundle = join(dir, `unpacked-${++unpacked}`);
    umoci("unpack", "--image", `${layout}:v1`, bundle);
    edit(join(bundle, "rootfs"));
    umoci("repack", "--image", `${layout}:v1`, bundle);
  };
  change((rootfs) => {
    busyboxRootfs(rootfs);
    mkdirSync(join(rootfs, "srv/sub"), { recursive: true });
    writeFileSync(join(rootfs, "srv/kept"), "kept\n");
    writeFileSync(join(rootfs, "srv/gone"), "gone\n");
    writeFileSync(join(rootfs, "srv/sub/old"), "old\n");
    linkSync(join(rootfs, "srv/kept"), join(rootfs, "srv/hard"));
    symlinkSync("/etc/passwd", join(rootfs, "srv/link"));
    writeFileSync(join(rootfs, "srv/ping"), "p");
    chmodSync(join(rootfs, "srv/ping"), 0o4755);
    tool("setcap", ["cap_net_raw+ep", join(rootfs, "srv/ping")]);
    tool("mkfifo", [join(rootfs, "srv/fifo")]);
    writeFileSync(join(rootfs, "srv", "n".repeat(200)), "long name");
  });
  change((rootfs) => {
    tool("rm", ["-r", join(rootfs, "srv/gone"), join(rootfs, "srv/sub")]);
    mkdirSync(join(rootfs, "srv/sub"));
    writeFileSync(join(rootfs, "srv/sub/new"), "new\n");
  });
  const config = ["--config.cmd", "/bin/sh", "--config.cmd", "-c", "--config.cmd", "id -u; id -G; pwd; echo $GREETING"];
  const more = [
    "--config.env",
    "GREETING=hello",
    "--config.user",
    "app",
    "--config.workingdir",
    "/srv",
    "--config.label",
    "team=a",
  ];
  umoci("config", "--image", `${layout}:v1`, ...config, ...more);
  return layout;
}

let unpacked = 0;

export interface Manifest {
  config: { digest: string };
  layers: { digest: string; mediaType: string }[];
}

/** The manifest of a tag of a layout, and its config. */
export function readLayout(layout: string, tag: string): { manifest: Manifest; diffIds: string[]; configText: string } {
  const blob = (digest: string) => readFileSync(join(layout, "blobs/sha256", digest.slice(7)), "utf8");
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
  const descriptor = index.manifests.find(
    (entry: { annotations?: Record<string, string> }) =>
      entry.annotations?.["org.opencontainers.image.ref.name"] === tag,
  );
  const manifest: Manifest = JSON.parse(blob(descriptor.digest));
  const configText = blob(manifest.config.digest);
  return { manifest, configText, diffIds: JSON.parse(configText).rootfs.diff_ids };
}
