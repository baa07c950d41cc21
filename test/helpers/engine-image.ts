/** An image for engines, made from busybox without a registry, and daemons that run while a test file does. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxRootfs } from "./bundle.ts";
import { until } from "./runtime.ts";
import { scratch } from "./scratch.ts";

/** A root filesystem as a tar. */
export function busyboxTar(): string {
  const rootfs = scratch("image");
  busyboxRootfs(rootfs);
  const tar = join(scratch("tar"), "busybox.tar");
  const made = spawnSync("tar", ["-C", rootfs, "-cf", tar, "."], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  return tar;
}

/** An OCI archive of a root filesystem as a tar, under a full name such as `localhost/web:v1`, with its command. */
export function ociArchive(rootfsTar: string, name: string, command: readonly string[]): string {
  const dir = scratch("layout");
  mkdirSync(join(dir, "blobs/sha256"), { recursive: true });
  const blob = (content: Buffer) => {
    const hex = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(dir, "blobs/sha256", hex), content);
    return { digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const oci = (what: string) => `application/vnd.oci.image.${what}`;
  const layer = blob(readFileSync(rootfsTar));
  const config = blob(
    json({
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Cmd: command },
      rootfs: { type: "layers", diff_ids: [layer.digest] },
    }),
  );
  const manifest = blob(
    json({
      schemaVersion: 2,
      mediaType: oci("manifest.v1+json"),
      config: { mediaType: oci("config.v1+json"), ...config },
      layers: [{ mediaType: oci("layer.v1.tar"), ...layer }],
    }),
  );
  const annotations = { "io.containerd.image.name": name };
  const index = { schemaVersion: 2, manifests: [{ mediaType: oci("manifest.v1+json"), ...manifest, annotations }] };
  writeFileSync(join(dir, "index.json"), json(index));
  writeFileSync(join(dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  const archive = join(scratch("tar"), "image.tar");
  const made = spawnSync("tar", ["-C", dir, "-cf", archive, "."], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  return archive;
}

export interface Daemon {
  pid: number;
  /** What it has written so far. */
  log(): string;
  /** Ends it, and waits for its end. */
  stop(): Promise<void>;
}

/** Starts a daemon and waits until it answers. */
export async function startDaemon(command: string[], isReady: () => boolean): Promise<Daemon> {
  const file = join(scratch("daemon"), "log");
  const log = openSync(file, "w");
  const [program = "", ...args] = command;
  const child: ChildProcess = spawn(program, args, { stdio: ["ignore", log, log] });
  const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  try {
    await until(isReady, `${program} answers`, 30_000);
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${(error as Error).message}\n${readFileSync(file, "utf8").slice(-2000)}`);
  }
  return {
    pid: child.pid ?? -1,
    log: () => readFileSync(file, "utf8"),
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Makes directories below a scratch one; their paths. */
export function directories(...names: string[]): string[] {
  const top = scratch("engine");
  return names.map((name) => {
    mkdirSync(join(top, name));
    return join(top, name);
  });
}
