/** The attacker of test/fixtures/security. A test of it needs `compiled: "attacker"`. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { compiled } from "./compiled.mjs";
import { newId, type Result, RUNTIME, run, type Started, spawn } from "./runtime.ts";
import { scratch } from "./scratch.ts";

let binary: string | undefined;

/** Path of the program: static, so that it runs in any root filesystem. */
export function attacker(): string {
  binary ??= compiled("attacker", scratch("attacker"));
  return binary;
}

/** Puts it into a root filesystem as /bin/attacker. */
export function withAttacker(rootfs: string): void {
  const path = join(rootfs, "bin/attacker");
  copyFileSync(attacker(), path);
  chmodSync(path, 0o755);
}

/** Exchanges two names on the host until `stop` is called, which gives how often it did. */
export async function swapping(a: string, b: string): Promise<{ stop(): Promise<number> }> {
  const process: Started = spawn(["swap", a, b], { runtime: attacker() });
  await process.waitFor("swapping");
  return {
    async stop() {
      process.child.stdin?.end();
      const { stdout, stderr } = await process.exit;
      const count = /swapped (\d+)/.exec(stdout)?.[1];
      if (count === undefined) throw new Error(`the attacker failed: ${stderr}`);
      return Number(count);
    },
  };
}

/** Exchanges two names on the host, once. */
export function exchange(a: string, b: string): void {
  execFileSync(attacker(), ["exchange", a, b]);
}

/**
 * Runs a bundle, and exchanges two names once, at the nth call about paths that anything but the runtime's first process
 * makes: the init, that is, and later the container.
 */
export function runTripped(bundle: { path: string }, nth: number, a: string, b: string): Result & { reached: boolean } {
  const result = run(["trip", String(nth), a, b, RUNTIME, "run", "-b", bundle.path, newId()], { runtime: attacker() });
  const [, stdout = "", calls] = /^(.*)calls (\d+)\n$/s.exec(result.stdout) ?? [];
  if (calls === undefined) throw new Error(`the attacker failed: ${result.stdout}${result.stderr}`);
  return { ...result, stdout, reached: Number(calls) === nth };
}

/** F_GET_SEALS of a file, as fcntl(2) has them. */
export function sealsOf(path: string): number {
  return Number.parseInt(spawnSync(attacker(), ["seals", path], { encoding: "utf8" }).stdout, 16);
}
