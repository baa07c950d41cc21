/** An image for engines, made from busybox without a registry, and daemons that run while a test file does. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, openSync, readFileSync } from "node:fs";
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

export interface Daemon {
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
