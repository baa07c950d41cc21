/**
 * What many callers do to a few containers at once: any verb at any time, some of them killed half-way. Nobody knows
 * what each call should say, as others are at work; what it may not do is hang, be killed, or show its inside.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

/** Numbers from a seed, the same ones again for the same seed (xorshift32). */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

export interface Call {
  args: readonly string[];
  code: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
  milliseconds: number;
}

let output: string | undefined;
let calls = 0;

/**
 * Runs the runtime, without waiting for what it starts. Its output goes to files: a pipe would wait for the container.
 *
 * @param killAfterMs undefined: it is left alone, for as long as `boundMs`
 */
export function call(
  args: readonly string[],
  {
    killAfterMs,
    boundMs = 60_000,
    runtime = RUNTIME,
  }: { killAfterMs?: number; boundMs?: number; runtime?: string } = {},
): Promise<Call> {
  output ??= scratch("calls");
  const path = join(output, `stderr-${++calls}`);
  const fd = openSync(path, "w");
  const began = Date.now();
  const child: ChildProcess = spawn(runtime, args, { stdio: ["ignore", "ignore", fd] });
  closeSync(fd);
  const timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs ?? boundMs);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      const stderr = readFileSync(path, "utf8");
      unlinkSync(path);
      resolve({ args, code, signal, stderr, milliseconds: Date.now() - began });
    });
  });
}

/** Why a call that nobody killed is a fault; undefined when it is none. */
export function faultOf({ args, code, signal, stderr, milliseconds }: Call): string | undefined {
  const what = `tsrun ${args.join(" ")}: ${signal ?? code} after ${milliseconds} ms: ${stderr.slice(0, 500)}`;
  if (signal !== null) return what;
  if (code === 0) return undefined;
  const isReadable =
    /^tsrun: /m.test(stderr) && !/internal error|^\s+at |undefined is not|not a function/m.test(stderr);
  // exec hands on the exit code of its process, which may have been killed with the container.
  return isReadable || (args[0] === "exec" && code === 137) ? undefined : what;
}

/** A command line for one of the containers. */
export function randomCall(random: Random, id: string, bundle: string): string[] {
  return random.of<string[]>([
    ["create", "-b", bundle, id],
    ["run", "-d", "-b", bundle, id],
    ["start", id],
    ["start", id],
    ["kill", id, "KILL"],
    ["kill", id, "TERM"],
    ["kill", "--all", id, "KILL"],
    ["delete", id],
    ["delete", "--force", id],
    ["exec", id, "true"],
    ["exec", "-d", id, "sleep", "1000"],
    ["pause", id],
    ["resume", id],
    ["update", "--pids-limit", String(20 + random.below(50)), id],
    ["state", id],
    ["list"],
    ["ps", id],
    ["events", "--stats", id],
  ]);
}
